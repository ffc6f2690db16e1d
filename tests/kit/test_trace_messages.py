"""Queues of bytes: every byte that was written is read once, by whoever read it, or lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chatlab.trace.messages import Queues, Written

# No deadline: a loaded machine is not a defect. No database: a checkout stays as it is.
property_test = settings(deadline=None, database=None)

# A history of one stream: positive numbers write so many bytes, negative ones read up to so many.
histories = st.lists(st.integers(-40, 40).filter(bool), max_size=40)


def play(history: list[int]) -> tuple[list, bytes, bytes]:
    """Messages, all bytes written and all bytes read of a history. A read takes what is there, as a real one does."""
    queues, written, read = Queues(), b"", b""
    for time, size in enumerate(history):
        if size > 0:
            data = bytes((len(written) + i) % 256 for i in range(size))
            written += data
            queues.write("stream", Written(time, 1, 3, size, "pipe", data))
        elif there := min(-size, len(written) - len(read)):
            shown = written[len(read) : len(read) + there]
            assert queues.read("stream", there, time, 2, 4, "pipe", shown) == shown
            read += shown
    return queues.messages({"stream": (2, 4)}), written, read


@property_test
@given(histories)
def test_bytes_are_conserved(history):
    messages, written, read = play(history)
    assert sum(message.size for message in messages) == len(written)
    assert sum(message.size for message in messages if message.received is not None) == len(read)


@property_test
@given(histories)
def test_no_message_arrives_before_it_is_sent_and_order_is_kept(history):
    messages, _, _ = play(history)
    arrived = [message for message in messages if message.received is not None]
    assert all(message.sent <= message.received for message in arrived)
    assert [message.received for message in arrived] == sorted(message.received for message in arrived)
    assert all((message.source, message.target) == (1, 2) for message in messages)


@property_test
@given(histories)
def test_each_write_is_split_among_the_reads_that_took_it(history):
    messages, _, _ = play(history)
    for time, size in enumerate(history):
        if size > 0:
            assert sum(message.size for message in messages if message.sent == time) == size


def test_one_message_for_each_overlap_of_a_write_and_a_read():
    queues = Queues()
    queues.write("k", Written(1.0, 1, 3, 4, "pipe", b"abcd"))
    queues.write("k", Written(2.0, 1, 3, 4, "pipe", b"efgh"))
    assert queues.read("k", 6, 3.0, 2, 4, "pipe") == b"abcdef"
    first, second, lost = queues.messages({})
    assert (first.size, first.text, second.size, second.text) == (4, "abcd", 2, "ef")
    assert (lost.sent, lost.received, lost.target, lost.size, lost.text) == (2.0, None, None, 2, "gh")


def test_what_nobody_wrote_came_from_outside():
    queues = Queues()
    queues.write("k", Written(1.0, 1, 3, 2, "tcp", b"in"))
    queues.read("k", 5, 2.0, 2, 4, "tcp", b"inout")
    inside, outside = queues.messages({})
    assert (inside.source, inside.text) == (1, "in")
    assert (outside.source, outside.target, outside.sent, outside.received, outside.text) == (None, 2, 2.0, 2.0, "out")


def test_a_record_is_read_whole_however_short_the_buffer_is():
    queues = Queues()
    queues.write("k", Written(1.0, 1, 3, 10, "socketpair", b"0123456789"))
    queues.write("k", Written(2.0, 1, 3, 2, "socketpair", b"ab"))
    queues.read_one("k", 4, 3.0, 2, 4, "socketpair", b"0123")
    queues.read_one("k", 2, 4.0, 2, 4, "socketpair", b"ab")
    assert [(m.size, m.received) for m in queues.messages({})] == [(10, 3.0), (2, 4.0)]


def test_an_eventfd_read_takes_all_that_was_added():
    queues = Queues()
    queues.write("k", Written(1.0, 1, 3, 8, "eventfd", b"+1"))
    queues.write("k", Written(2.0, 1, 3, 8, "eventfd", b"+4"))
    queues.read_all("k", 3.0, 2, 3, "eventfd")
    assert [(m.text, m.received) for m in queues.messages({})] == [("+1", 3.0), ("+4", 3.0)]


def test_text_that_is_not_utf8_is_escaped():
    queues = Queues()
    queues.write("k", Written(1.0, 1, 3, 2, "pipe", b"\xff\x00"))
    assert queues.messages({})[0].text == "\\xff\x00"
