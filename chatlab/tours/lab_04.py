"""Lab 4: the poll server, from three people in a room to one that does not read."""

from chatlab.launch import launch
from chatlab.tours import Run, Scene, Traced

SERVER = "labs/04_poll_server/poll_server.py"
SCENES = "docs/demos/room_scenes.py"


def three_clients() -> Scene:
    """Three clients come, and each says a line, which the other two hear; then the server is stopped."""
    with launch(SERVER, "--port", "0", trace=True) as server:
        by_hand = (f"python {SERVER} --port {server.port}", f"nc 127.0.0.1 {server.port}    # three times, at once")
        with server.connect() as first, server.connect() as second, server.connect() as third:
            clients = [connection.makefile("rwb", buffering=0) for connection in (first, second, third)]
            _come_in(clients)
            for speaker in clients:
                speaker.write(b"hello\n")
                for listener in clients:
                    if listener is not speaker:
                        listener.readline()
        server.stop()
        return Scene(by_hand, server.log, server.trace)


def _come_in(clients: list) -> None:
    """Return once all are in the room: they have connected before the first one speaks, so its line reaches them."""
    clients[0].write(b"who is there?\n")
    for listener in clients[1:]:
        listener.readline()


TOUR = [
    Run(
        "One process, one poll, three people: what one says goes to the others. Any TCP program is a client.",
        f"python {SCENES} talk",
    ),
    Run(
        "A stream has no lines in it. Half a line waits until the rest has come.",
        f"python {SCENES} half-a-line",
    ),
    Run(
        "Who passes on what recv gives lets people speak into each other's sentences.",
        f"python {SCENES} half-a-line --pitfall lines-mixed",
    ),
    Run(
        "A good loop sleeps in silence, and wakes up once for each thing that happens.",
        f"python {SCENES} wake-ups",
    ),
    Run(
        "One wrong operator in an event mask, found in many textbooks' servers, and it never sleeps again.",
        f"python {SCENES} wake-ups --pitfall busy-after-the-first-line",
    ),
    Run(
        "No descriptor is left: accept fails, the listener stays readable. The server rests, and Dan gets in later.",
        f"python {SCENES} no-descriptor",
    ),
    Run(
        "A slow reader loses nothing: what the kernel does not take waits in its queue, until POLLOUT.",
        f"python {SCENES} late-reader",
    ),
    Run(
        "Who drops what the kernel did not take makes holes, and nobody is told.",
        f"python {SCENES} late-reader --pitfall holes-for-slow-readers",
    ),
    Run(
        "A reader that does not read costs the room a second, once: senders wait for its queue, then it is evicted.",
        f"python {SCENES} deaf-reader",
    ),
    Run(
        "With a blocking send the whole room waits for it.",
        f"python {SCENES} deaf-reader --pitfall frozen-room",
    ),
    Run(
        "A half-close is no close: who has no more to say still hears.",
        f"python {SCENES} half-close",
    ),
    Run(
        "Why a turn's lines are sent together: what costs is the call, not the bytes.",
        "python docs/demos/send_ways.py",
    ),
    Traced(
        "Three clients, as the kernel saw it: one process holds every connection.",
        three_clients,
        ("listener", "tcp"),
        "No fork and no thread: each connection is a descriptor of the one process, from accept to close.",
    ),
]
