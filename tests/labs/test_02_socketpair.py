"""Lab 02 as a black box: the demo says what the kernel did, and each pitfall goes wrong in exactly its own respect."""

import re

import pytest

from chatlab.launch import run
from tests.labs import output

DEMO = "labs/02_socketpair/socketpair_demo.py"
PITFALLS = "labs/02_socketpair/pitfalls.py"
PARTS = ["duplex", "own-end", "fork", "end-of-file", "messages", "buffers", "flags", "hand-over"]
NAMES = ["no-end-of-file", "both-listen", "messages-run-together", "both-send", "reset-instead-of-end"]
NO_END, LISTEN, TOGETHER, SEND, RESET = NAMES
BULK_BYTES = 1048576


def demo(part):
    """What one part prints, as lines."""
    done = run(DEMO, "--part", part)
    assert (done.returncode, done.log) == (0, "")
    return done.output.splitlines()


@pytest.fixture(scope="module")
def spoilt():
    """What each pitfall prints."""
    done = {name: run(PITFALLS, name) for name in NAMES}
    assert {name: (one.returncode, one.log) for name, one in done.items()} == dict.fromkeys(NAMES, (0, ""))
    return {name: one.output for name, one in done.items()}


def without_numbers(text):
    """Output with the numbers that the kernel chooses anew left out."""
    return re.sub(r"\[\d+\]", "[…]", text)


# standard output that is gone or full


@pytest.mark.parametrize("program", [(DEMO,), (DEMO, "-h"), (PITFALLS,), *[(PITFALLS, name) for name in NAMES]])
def test_output_that_is_full_is_one_line(program):
    assert output.onto_a_full_disk(*program) == (1, output.no_space(program[0]))


each_program = pytest.mark.parametrize(
    "program",
    [(DEMO,), *[(DEMO, "--part", part) for part in PARTS], (PITFALLS,), *[(PITFALLS, name) for name in NAMES]],
    ids=lambda program: " ".join(program[1:]),
)


@each_program
def test_a_reader_that_has_gone_is_silence_and_nobody_is_left(program):
    assert output.to_a_reader_of(0, *program) == (1, "")


@each_program
def test_a_reader_that_goes_after_the_first_byte_is_silence_and_nobody_is_left(program):
    status, errors = output.to_a_reader_of(1, *program)
    assert errors == ""
    assert status in (0, 1), "0 when all was written before the reader had gone"


@pytest.mark.parametrize("program", [DEMO, PITFALLS])
def test_output_that_is_closed_is_one_line(program):
    assert output.closed(program) == (1, output.is_closed(program))


# the demo


def test_the_whole_story_is_its_parts_in_order_and_the_same_each_time():
    whole = run(DEMO)
    assert whole.returncode == 0
    assert re.findall(r"^\d+\. ([a-z-]+):", whole.output, re.MULTILINE) == PARTS
    parts = "\n".join("\n".join(demo(part)) for part in PARTS) + "\n"
    assert without_numbers(whole.output) == without_numbers(parts)


def test_help_explains_and_an_unknown_part_is_one_clear_complaint():
    assert "one part alone: duplex, own-end" in re.sub(r"\s+", " ", run(DEMO, "-h").output)
    refused = run(DEMO, "--part", "nonsense")
    assert refused.returncode == 2
    assert "invalid choice: 'nonsense'" in refused.log
    assert "Traceback" not in refused.log


def test_both_directions_at_once_in_one_process():
    sent, received = demo("duplex")[-2:]
    assert "nobody has read yet" in sent
    assert "fd 4 receives b'ping', fd 3 receives b'pong'" in received


def test_the_end_written_to_has_nothing_to_read():
    polled, own, other = demo("own-end")[1:]
    assert polled.endswith("poll: fd 3 nothing, fd 4 POLLIN")
    assert "recv on fd 3 with MSG_DONTWAIT: EAGAIN" in own
    assert other.endswith("recv on fd 4 with MSG_DONTWAIT: b'hello'")


def test_parent_and_child_hold_one_end_each_and_use_it_both_ways():
    text = "\n".join(demo("fork"))
    both = r"3 -> (socket:\[\d+\]), 4 -> (socket:\[\d+\])"
    first = re.search(rf"after fork, the parent holds {both}\n *after fork, the child holds  {both}\n", text)
    assert first and first[1] == first[3] != first[2] == first[4]
    assert f"after each closed one, the parent holds 3 -> {first[1]}\n" in text
    assert f"after each closed one, the child holds  4 -> {first[2]}\n" in text
    assert "child:  fd 4 receives b'what is 6 x 7?' and sends b'42\\n' back\n" in text
    assert "parent: fd 3, the same one, receives b'42'\n" in text
    assert text.endswith("exit status 0")


def test_only_one_process_is_forked_and_it_is_reaped():
    done = run(DEMO, "--part", "fork", trace=True)
    if not done.trace.exact:
        pytest.skip("not checked: system calls are seen exactly only with strace")
    parent, child = done.trace.processes
    assert (child.parent, child.status) == (parent.pid, 0)
    assert [call.result for call in done.trace.named("wait4") if call.result] == [child.pid]


def test_end_of_file_comes_with_the_last_close_and_not_before():
    reaped, kept, words, nothing, closing, end = demo("end-of-file")[1:]
    assert reaped.endswith("exit status 0")
    assert re.search(r"3 -> socket:\[\d+\], 4 -> socket:\[\d+\]$", kept)
    assert words.endswith("b'goodbye'")
    assert "EAGAIN" in nothing
    assert "closes fd 4" in closing
    assert end.endswith("b'': end of file")


def test_a_stream_joins_messages_and_seqpacket_keeps_them():
    joined, cut, packets, _ = demo("messages")[1:]
    assert joined.endswith(r"b'one\ntwo\nthree\n'")
    assert cut.endswith("[b'one', b'two', b'three']")
    assert packets.endswith("b'one' b'two' b'thre' b''")


def test_a_send_takes_what_fits_and_turns_move_the_rest():
    full, _, swapped = demo("buffers")[1:]
    taken = int(re.search(r"the kernel took (\d+)$", full)[1])
    assert 0 < taken < BULK_BYTES
    assert f"received {BULK_BYTES} bytes; child reaped, exit status 0" in swapped


def test_o_nonblock_is_shared_with_a_copy_and_not_with_the_other_end():
    before, _, after, plain = demo("flags")[1:]
    assert before.endswith("O_NONBLOCK is False on fd 3")
    assert re.search(r"True here too; on the other end, fd 4: False$", after)
    assert "a plain recv on fd 3 gives EAGAIN" in plain


def test_a_descriptor_arrives_under_another_number_and_names_the_same_pipe():
    sent, received, read, reaped = demo("hand-over")[1:]
    sent_number, sent_pipe = re.search(r"sends fd (\d+), (pipe:\[\d+\])", sent).groups()
    number, pipe = re.search(r"receives fd (\d+), (pipe:\[\d+\])", received).groups()
    assert pipe == sent_pipe
    assert number != sent_number
    assert read.endswith("b'from a pipe that only the parent opened'")
    assert reaped.endswith("exit status 0")


# the pitfalls


def test_without_a_name_they_are_listed():
    done = run(PITFALLS)
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z-]+) +Symptom: ", done.output, re.MULTILINE) == NAMES


@pytest.mark.parametrize("arguments", [["nonsense"], ["both-send", "both-listen"]])
def test_an_unknown_name_is_one_clear_line(arguments):
    done = run(PITFALLS, *arguments)
    assert done.returncode == 1
    assert done.log.count("\n") == 1
    assert done.log.startswith(f"pitfalls.py: no pitfall {' '.join(arguments)!r}; there are: {', '.join(NAMES)}")


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_its_symptom_cause_and_cure(spoilt, name):
    assert re.search(r"\nSymptom: .+\nCause: .+\nCure: .+\n$", spoilt[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_pitfall_hangs_exactly_when_that_is_its_symptom(spoilt, name):
    assert ("watchdog" in spoilt[name]) == (name in (NO_END, LISTEN, SEND))


def test_a_kept_copy_prevents_end_of_file(spoilt):
    assert "the same one, receives b'42'" in spoilt[NO_END]
    assert "end of file, since the child has left" not in spoilt[NO_END]
    assert re.search(r"the parent waits in recv .*, holding 3 -> socket:\[\d+\], 4 -> socket:\[\d+\]\n", spoilt[NO_END])
    assert re.search(r"the child has left, and is a zombie\n", spoilt[NO_END])


def test_two_listeners_wait_for_each_other(spoilt):
    assert re.search(r"the parent waits in recv .*, holding 3 -> socket:\[\d+\]\n", spoilt[LISTEN])
    assert re.search(r"the child waits in recv .*, holding 4 -> socket:\[\d+\]\n", spoilt[LISTEN])
    assert "sends b'what" not in spoilt[LISTEN]


def test_three_messages_become_one(spoilt):
    assert r"cut into messages: [b'one\ntwo\nthree\n']" in spoilt[TOGETHER]
    assert "seqpacket: 4 sends, 4 recvs: b'one' b'two' b'thre' b''" in spoilt[TOGETHER]


def test_two_senders_wait_for_each_other(spoilt):
    assert re.search(r"the parent waits in send .*, holding 3 -> socket:\[\d+\]\n", spoilt[SEND])
    assert re.search(r"the child waits in send .*, holding 4 -> socket:\[\d+\]\n", spoilt[SEND])


def test_an_unread_question_turns_the_end_into_a_reset(spoilt):
    assert "the same one, receives b'42'\n   parent: ConnectionResetError: [Errno 104]" in spoilt[RESET]
