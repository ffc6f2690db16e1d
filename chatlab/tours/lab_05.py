"""Lab 5: a process for each client, from the family's descriptors to the death of any of its members."""

from chatlab.launch import launch
from chatlab.load import Client, admit
from chatlab.tours import Run, Scene, Traced

SERVER = "labs/05_epoll_fork_shm/fork_shm_server.py"
SCENES = "docs/demos/fork_scenes.py"


def three_clients() -> Scene:
    """Three clients come, and each says a line, which the other two hear; then the server is stopped."""
    with launch(SERVER, "--port", "0", trace=True) as server:
        by_hand = (f"python {SERVER} --port {server.port}", f"nc 127.0.0.1 {server.port}    # three times, at once")
        with Client(server.address) as first, Client(server.address) as second, Client(server.address) as third:
            clients = [first, second, third]
            admit(clients)
            for speaker in clients:
                speaker.send_line(b"hello")
                for listener in clients:
                    if listener is not speaker:
                        listener.read_line()
        server.stop()
        return Scene(by_hand, server.log, server.trace)


TOUR = [
    Run(
        "The room of lab 04, a process for each client. A child holds its client, its bell, and nothing else.",
        f"python {SCENES} who-has-what",
    ),
    Run(
        "The way of one line: into shared memory, a bell to the parent, a bell to each child, and out of the memory.",
        f"python {SCENES} journey",
    ),
    Run(
        "What epoll says, beside poll. Edge-triggered it tells once; and what it watches is a file, not a number.",
        "python docs/demos/epoll_says.py",
    ),
    Run(
        "Edge-triggered, with one accept for each event: Dan waits until somebody else comes.",
        f"python {SCENES} newcomers --pitfall waiting-at-the-door",
    ),
    Run(
        "Memory that two processes write: an addition is lost. So every field has one writer, and there is no lock.",
        "python docs/demos/shared_memory.py --part step-by-step",
    ),
    Run(
        "Cid's process is stopped, and Ann says more than a ring holds. She has to wait, and Cid misses nothing.",
        f"python {SCENES} late-reader",
    ),
    Run(
        "A writer that does not look how far its readers are writes over what they have not read.",
        f"python {SCENES} late-reader --pitfall written-over",
    ),
    Run(
        "A bell says: look again. When the socketpair is full of bells, one more is not needed.",
        f"python {SCENES} frozen-child",
    ),
    Run(
        "With a bell for each message, one process that is stopped stops the room.",
        f"python {SCENES} frozen-child --pitfall frozen-at-the-bell",
    ),
    Run(
        "Who takes nothing while others wait is ended after a second, and the room goes on.",
        f"python {SCENES} eviction",
    ),
    Run(
        "A child is killed: its client is told by a reset, and nobody else notices.",
        f"python {SCENES} killed-child",
    ),
    Run(
        "The parent is killed: all children end with it, the one that is stopped too.",
        f"python {SCENES} killed-parent",
    ),
    Run(
        "Children that keep their siblings' descriptors do not see the end, and live on.",
        f"python {SCENES} killed-parent --pitfall orphans-live-on",
    ),
    Run(
        "A table that closes its gaps gives Cid's slot away: Dan speaks in it, and Cid is not heard any more.",
        f"python {SCENES} slot-reuse --pitfall two-in-one-slot",
    ),
    Traced(
        "Three clients, as the kernel saw it: which process held which socket.",
        three_clients,
        ("listener", "tcp"),
        "The parent accepts and lets go. Then its own child alone holds a connection, and no child the listener.",
    ),
]
