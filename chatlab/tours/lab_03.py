"""Lab 3: the poll client, from what poll says to a conversation between keyboard, pipe and connection."""

from chatlab.launch import launch
from chatlab.tours import STEP_SECONDS, Run, Scene, Traced

CLIENT = "labs/03_poll_client/poll_client.py"
PEER = "labs/01_fork/fork_server.py"
SCENES = "docs/demos/client_scenes.py"
WORDS = b"hello, network\n"


def conversation() -> Scene:
    """A line goes to the echo server of lab 1 and comes back, then the input ends."""
    with launch(PEER, "--port", "0") as peer:
        by_hand = (f"python {PEER} --port {peer.port}", f"python {CLIENT} 127.0.0.1 {peer.port}")
        with launch(CLIENT, "127.0.0.1", peer.port, ready=False, stdin="pipe", trace=True) as client:
            client.write(WORDS)
            client.wait_for_text(WORDS.decode(), timeout=STEP_SECONDS)
            client.close_stdin()
            client.wait()
            return Scene(by_hand, client.output, client.trace)


TOUR = [
    Run(
        "poll waits for many descriptors at once. What it says of each, and what a read gives then:",
        "python docs/demos/poll_events.py",
    ),
    Run(
        "A client that polls keyboard and network; a server, and both directions in turn.",
        f"python {SCENES} talk",
    ),
    Run(
        "The server says something and closes: data and FIN are reported together, and the client reads first.",
        f"python {SCENES} last-words",
    ),
    Run(
        "The textbook's client looks for the close first, and loses the last words.",
        f"python {SCENES} last-words --pitfall last-words-lost",
    ),
    Run(
        "The keyboard's pipe has lost its writer: POLLHUP alone. The client tells the server by FIN, and sleeps.",
        f"python {SCENES} end-of-input",
    ),
    Run(
        "Who handles POLLIN only is told of POLLHUP again and again, with the processor at its limit.",
        f"python {SCENES} end-of-input --pitfall busy-at-hang-up",
    ),
    Run(
        "splice moves what is typed without a copy, and may move a part: the rest is yours to track.",
        "python docs/demos/splice_moves.py --part short",
    ),
    Run(
        "SPLICE_F_MORE promises more, so TCP waits for it: a typed line comes late.",
        "python docs/demos/splice_moves.py --part more",
    ),
    Run(
        "A terminal obeys a stranger's bytes. So they are shown, and not handed on.",
        f"python {SCENES} stranger",
    ),
    Traced(
        "One conversation with lab 1's echo server, as the kernel saw it: what the client held open, and when.",
        conversation,
        ("pipe", "tcp"),
        "What is typed comes in by fd 0, goes through a pipe of the client's own (3, 4), and leaves by the connection.",
    ),
]
