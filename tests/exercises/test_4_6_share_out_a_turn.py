"""4.6 share out a turn: everything that others have said, in one order for all, and no copy for each client."""

import pytest

pytestmark = pytest.mark.exercise("4.6")
READ = "One turn of the loop"
NAMED = "clients named who get nothing: the loop then calls sendmsg for each of them, for nothing"

HELPERS = """
import tracemalloc

def shared(turn, clients):
    shares = share_out(turn, clients)
    if not isinstance(shares, dict):
        return repr(shares)[:100]
    return {client: [bytes(buffer) for buffer in share] for client, share in shares.items()}

def memory_of_a_turn(size, count):
    turn = [("a talker", bytes(size)), ("another", bytes(size))]
    clients = ["a talker", "another", *range(count)]
    tracemalloc.start()
    shares = share_out(turn, clients)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return taken, len(shares)
"""


def words(student, who):
    """Something to say, a line or two."""
    count = student.random.randrange(1, 3)
    return b"".join(b"%s says %d\n" % (who.encode(), student.random.randrange(1000)) for _ in range(count))


def share(student, turn, clients):
    """One call of share_out, as a dict of lists of bytes."""
    student.define(HELPERS)
    said = ", ".join(f"{who}: {data!r}" for who, data in turn)
    call = student.call("shared", turn, clients, step=f"share_out, said: {said}; in the room: {', '.join(clients)}")
    student.should(
        isinstance(call.value, dict), should="return a dict of buffers by client", but=f"it returned {call.value}"
    )
    return call.value


def others(turn, client):
    """What a client must get."""
    return b"".join(data for who, data in turn if who != client)


def what_went_wrong(turn, client, got):
    """The likely mistake, from what a client gets."""
    own = [data for who, data in turn if who == client]
    if any(data in got for data in own):
        return "one's own lines not left out"
    if len(got) < len(others(turn, client)):
        return "one place for what a client is to get, where each sender of the turn replaces the one before"
    return "another order than that of the turn, which is the same for everybody"


def each_gets(student, turn, clients, mistake=""):
    """Share out, and hold what each client gets against what the others said. Returns the shares."""
    shares = share(student, turn, clients)
    for client in clients:
        got, wanted = b"".join(shares.get(client, [])), others(turn, client)
        student.should(
            got == wanted,
            should=f"give {wanted!r} to {client}",
            but=f"it gets {got!r}",
            mistake=mistake or what_went_wrong(turn, client, got),
            read=READ,
        )
    return shares


def test_everyone_but_the_sender(student):
    """Everyone gets what the others said, in the order in which it was read."""
    turn = [(who, words(student, who)) for who in student.random.sample(["Ann", "Bob", "Cid"], 3)]
    shares = each_gets(student, turn, ["Ann", "Bob", "Cid", "Dot"])
    student.should(set(shares) == {"Ann", "Bob", "Cid", "Dot"}, should="name each once", but=f"it has {sorted(shares)}")


def test_the_same_words(student):
    """Two who say the same are told of each other."""
    line = words(student, "somebody")
    each_gets(
        student,
        [("Ann", line), ("Bob", line)],
        ["Ann", "Bob", "Cid"],
        "one's own lines left out by what they say: others may say the same, so go by the sender",
    )


def test_several_times(student):
    """Who says something twice in a turn hears what came between, and nothing of its own."""
    turn = [(who, words(student, who)) for who in ("Ann", "Bob", "Ann", "Cid", "Ann")]
    shares = each_gets(
        student, turn, ["Ann", "Bob", "Cid"], "only the first, or only the last, of a sender's places in the turn known"
    )
    counts = {who: len(buffers) for who, buffers in shares.items()}
    empty = [who for who, buffers in shares.items() if not all(buffers)]
    student.should(
        counts["Ann"] <= 4 and counts["Bob"] <= 2 and not empty,
        should="give Bob two buffers and Ann four, at most, none of them empty",
        but=f"{empty[0]} gets an empty one" if empty else f"Ann gets {counts['Ann']}, Bob {counts['Bob']}",
        mistake="a buffer for every piece: sendmsg takes 1024 at most, so neighbours belong into one view",
        read=READ,
    )


def test_who_gets_nothing(student):
    """Who gets nothing is not named, and one who has left is still heard."""
    student.should(
        share(student, [], ["Ann", "Bob"]) == {},
        should="return {} for a silent turn",
        but="it names somebody",
        mistake=NAMED,
        read=READ,
    )
    turn = [("Ann", words(student, "Ann"))]
    shares = each_gets(student, turn, ["Ann", "Bob"])
    student.should(
        "Ann" not in shares,
        should="leave Ann out, who was the only one to speak",
        but=f"it has {shares.get('Ann')} for her",
        mistake=NAMED,
        read=READ,
    )
    shares = each_gets(
        student,
        [("Eve", b"I am off\n"), *turn],
        ["Ann", "Bob"],
        "a sender looked up among those in the room: its last words are for them, though it has left",
    )
    student.should("Eve" not in shares, should="have nothing for Eve, who has left", but="it has", read=READ)


def test_one_copy_for_all(student):
    """A turn's bytes are copied once, not for each client."""
    student.define(HELPERS)
    size, count = 100_000 + student.random.randrange(1000), 200
    words = f"share out 2 times {size} bytes in a room of {count + 2}"
    taken, named = student.call("memory_of_a_turn", size, count, step=words).value
    student.should(named == count + 2, should=f"have something for all {count + 2}", but=f"it has {named}")
    student.should(
        taken < 2_000_000,
        should="copy the turn's bytes once, and give out views",
        but=f"it took {taken // 1000} kB of memory",
        mistake="bytes joined or sliced for each client: a memoryview of one joined bytes is sliced without a copy",
        read=READ,
    )
