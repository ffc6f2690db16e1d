"""Lab 2: socketpair, from two ends in one process to a descriptor handed to another."""

from chatlab.launch import run
from chatlab.tours import STEP_SECONDS, Run, Scene, Traced

DEMO = "labs/02_socketpair/socketpair_demo.py"


def parent_and_child() -> Scene:
    """A parent and a child, each closing the other's end of their pair."""
    done = run(DEMO, "--part", "fork", trace=True, timeout=STEP_SECONDS)
    return Scene((f"strace -f -e trace=socketpair,clone,close python {DEMO} --part fork",), "", done.trace)


TOUR = [
    Run(
        "socketpair gives two connected sockets. Each can be written and read: the pair is full duplex.",
        f"python {DEMO} --part duplex",
    ),
    Run(
        "What you write into an end comes out of the other. Reading your own end would wait for ever.",
        f"python {DEMO} --part own-end",
    ),
    Run(
        "After a fork both processes hold both ends, so each closes the other's.",
        f"python {DEMO} --part fork",
    ),
    Run(
        "End of file comes when the last copy of an end is closed: a forgotten copy keeps the reader waiting.",
        f"python {DEMO} --part end-of-file",
    ),
    Run(
        "A stream has no messages in it, only bytes; seqpacket keeps the boundaries.",
        f"python {DEMO} --part messages",
    ),
    Run(
        "A send takes what the buffers hold, and no more.",
        f"python {DEMO} --part buffers",
    ),
    Run(
        "O_NONBLOCK belongs to the open file, so every process that shares it gets it too.",
        f"python {DEMO} --part flags",
    ),
    Run(
        "An open descriptor can be handed to another process over a pair (SCM_RIGHTS).",
        f"python {DEMO} --part hand-over",
    ),
    Traced(
        "Parent and child once more, as the kernel saw it: who held which end, and when.",
        parent_and_child,
        ("socketpair",),
        "The child has its copies by fork, and each process closes the end that is the other's.",
    ),
]
