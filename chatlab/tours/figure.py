"""The README's figure: the course at a glance, drawn from a real run of lab 1's server."""

import signal
import socket
from pathlib import Path

from chatlab.launch import launch

SERVER = "labs/01_fork/fork_server.py"
WORDS = (b"hello\n", b"hi\n", b"ahoy\n")
SIZE_INCHES = (12, 5.5)
DOTS_PER_INCH = 135  # about 1600 dots wide
COLOURS = 64
TITLE_POINTS = 14
STANDARD_STREAMS = (0, 1, 2)


class FigureError(Exception):
    """The figure cannot be drawn here; str() is one line with the cure."""


def three_clients():
    """Three clients come to the forking server, say a word each, and leave in the same order. Returns the Trace."""
    with launch(SERVER, "--port", "0", trace=True) as server:
        clients = []
        for word in WORDS:
            clients.append(server.connect())
            clients[-1].sendall(word)
            clients[-1].recv(len(word))
        for number, client in enumerate(clients, start=1):
            client.shutdown(socket.SHUT_WR)
            server.wait_for(lambda number=number: server.log.count("reaped") == number, "log to tell who is reaped")
            client.close()
        server.signal(signal.SIGTERM)
        server.wait()
        return server.trace


def draw(path: Path) -> None:
    """Run the server and write the figure, a PNG of a few colours. Raises FigureError, LaunchError, OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from chatlab import plot

    trace = three_clients().without(fds=STANDARD_STREAMS)
    if not trace.exact:
        raise FigureError("the figure needs an exact trace: install strace (make doctor tells how)")
    names = {None: "clients", **trace.names("server")}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=SIZE_INCHES, layout="constrained", gridspec_kw={"width_ratios": (1.15, 1)}
    )
    kinds = {"listener", "tcp"}
    plot.descriptor_timeline(trace, left, kinds, names, title="Who holds which socket, from open to close")
    plot.sequence_chart(trace, right, names, title="Who says what to whom")
    figure.suptitle(
        "A forking server with three clients, as the kernel saw it", x=0.01, ha="left", fontsize=TITLE_POINTS
    )
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)
    _reduce(path)


def _reduce(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
