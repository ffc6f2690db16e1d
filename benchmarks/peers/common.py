"""What both asyncio relays share: the command line, and to listen and say so."""

import argparse
import asyncio
import importlib.util
import resource
import sys
from collections.abc import Awaitable, Callable

LINE_BYTES = 65536  # the longest line, its newline included
QUEUE_BYTES = 1024 * 1024  # what waits for one client before every sender has to wait
BACKLOG = 4096


def parser(about: str) -> argparse.ArgumentParser:
    """The options that both have."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--port", type=int, default=9999, help="TCP port, 0: the kernel chooses (default: 9999)")
    options.add_argument("--uvloop", action="store_true", help="use uvloop's event loop instead of asyncio's own")
    return options


def run(relay: Callable[[int], Awaitable[asyncio.Server]], options: argparse.Namespace) -> None:
    """Open the relay on its port and serve until a signal.

    Arguments: relay, from a port number to a listening asyncio.Server; options, the command line's. With --uvloop
    asyncio runs on uvloop's event loop; where that is not installed the exit status is 1, with one line.
    """
    if options.uvloop and importlib.util.find_spec("uvloop") is None:
        sys.exit("uvloop is not installed")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with asyncio.Runner(loop_factory=_uvloop if options.uvloop else None) as runner:
            runner.run(_serve(relay, options.port))
    except OSError as error:
        sys.exit(f"cannot listen on port {options.port}: {error.strerror}")
    except KeyboardInterrupt:
        pass


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(relay: Callable[[int], Awaitable[asyncio.Server]], port: int) -> None:
    server = await relay(port)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()
