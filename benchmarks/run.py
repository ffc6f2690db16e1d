"""`chatlab bench`: measure the servers, tell the figures, keep them, draw them."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import page, tables
from benchmarks.measure import QUICK, Plan, measure, steps
from benchmarks.results import RATE, Results, about_here
from benchmarks.servers import REFERENCE, ROOT, BenchError, Server, of_a_command, of_the_course, try_out, versions
from chatlab.launch import LaunchError

FOLDER = ROOT / ".chatlab" / "bench"
BUSY_LOAD = 0.3
TABLE_COLUMNS = 160  # never cut: a narrow terminal folds the lines


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark; the exit status: 0, or 1 with one line when nothing could be measured."""
    options = parse_arguments(arguments)
    try:
        return bench(options)
    except (BenchError, LaunchError) as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename or 'the figures'} cannot be written: {error.strerror}")
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    return 1


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="chatlab bench", description="Measure the servers beside their peers: docs/benchmarks.md.")
    parser.add_argument("--quick", action="store_true", help="one short round, for a look")
    parser.add_argument("--server", action="append", default=[], metavar='"COMMAND {port}"',
                        help="measure this server too; can be given several times. Without {port} it is a program of"
                        " the course's form: it takes --port 0 and prints `listening on HOST:PORT`")  # fmt: skip
    parser.add_argument("--only", metavar="NAME,NAME", help="measure these servers of the course only")
    parser.add_argument("--clients", type=numbers, metavar="N,N", help="only these numbers of clients")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds (default: 5; with --quick 1)")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR",
                        help="where results.json and the figures go (default: .chatlab/bench)")  # fmt: skip
    parser.add_argument("--keep", action="store_true",
                        help="keep this run in benchmarks/results, and write its figures into the pages")  # fmt: skip
    parser.add_argument("--no-pin", action="store_true", help="leave server and load generator on any core")
    options = parser.parse_args(arguments)
    if options.keep:
        options.out = page.RESULTS.parent
    if options.rounds is not None and not 1 <= options.rounds <= 100:
        parser.error(f"--rounds is {options.rounds}: from 1 to 100")
    return options


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str):
        self.exit(2, f"chatlab: {message} (chatlab bench --help shows what there is)\n")


def numbers(text: str) -> tuple[int, ...]:
    """ "100,900" as numbers of clients."""
    found = tuple(sorted({int(word) for word in text.split(",")}))
    if not all(2 <= number <= 50_000 for number in found):
        raise argparse.ArgumentTypeError("each is from 2 to 50000")
    return found


def bench(options: argparse.Namespace) -> int:
    """Measure what the options ask for. Raises BenchError, OSError."""
    servers, left_out = chosen(options)
    plan = chosen_plan(options)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, why in left_out.items():
        complain(f"left out: {name}: {why}")
    about = about_here(versions(), pinned=not options.no_pin and len(os.sched_getaffinity(0)) > 1)
    if about["load_before"] > BUSY_LOAD * about["cores"]:
        complain(
            f"this machine is busy (load {about['load_before']}): figures are lower, and less steady, than when quiet"
        )
    results = Results([server.name for server in servers], left_out, plan, about=about)
    with Bar(steps(plan, servers)) as bar:
        for what in measure(plan, servers, about["pinned"], bar.announce):
            results.add(what)
            bar.advance()
    for fault in results.faults:
        complain(f"{fault.server}, {fault.clients} clients: {fault.words}")
    if not results.samples:
        raise BenchError("nothing could be measured")
    results.write(options.out / page.RESULTS.name)
    tell(results)
    from benchmarks.figures import draw_all

    paths = [options.out / page.RESULTS.name, *draw_all(results, options.out)]
    if options.keep:
        paths += page.write_all()
    for path in paths:
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


def chosen(options: argparse.Namespace) -> tuple[list[Server], dict[str, str]]:
    """The servers to measure, and those left out, with the reason. Raises BenchError, LaunchError."""
    given = [of_a_command(command) for command in options.server]
    for server in given:
        try_out(server)
    servers, left_out = of_the_course()
    if options.only is not None:
        names = [name.strip() for name in options.only.split(",") if name.strip()]
        known = {server.name: server for server in servers}
        for name in names:
            if name not in known:
                raise BenchError(f"--only {name}: {left_out.get(name) or 'there is only ' + ', '.join(known)}")
        servers, left_out = [known[name] for name in names], {}
    for command, server in zip(options.server, given, strict=True):
        taken = [other.name for other in servers].count(server.name)
        servers.append(replace(server, name=f"{server.name} ({command})") if taken else server)
    if not servers:
        raise BenchError("--only names no server")
    return servers, left_out


def chosen_plan(options: argparse.Namespace) -> Plan:
    """What is to be measured."""
    plan = QUICK if options.quick else Plan()
    if options.rounds is not None:
        plan = replace(plan, rounds=options.rounds)
    if options.clients is not None:
        kinds = ("throughput", "latency", "memory", "first_line", "private")
        plan = replace(plan, **dict.fromkeys(kinds, options.clients), more_throughput=())
    return plan


def tell(results: Results) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    told = [("medians", tables.figures(results)), (f"{REFERENCE}, by ratio", tables.ratios(results))]
    told += [("newcomers, and a process for each client", tables.children(results))]
    for title, (head, rows) in [*told, ("targets", tables.targets(results))]:
        if not rows:
            continue
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for number, words in enumerate(head):
            table.add_column(words, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        Console(highlight=False, width=TABLE_COLUMNS).print(table)
        print()
    if results.sizes(RATE):
        print(page.generator(results))
    if results.plan.rounds > 1 and results.sizes(RATE):
        print(page.spread(results))


class Bar:
    """A progress bar on a terminal, in a `with` block; nothing elsewhere."""

    def __init__(self, total: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)

    def announce(self, words: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, description=words)

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        self._bar.stop()


def complain(text: str) -> None:
    """One line of trouble."""
    print(f"chatlab: {' '.join(text.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
