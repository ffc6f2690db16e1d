"""What notebooks rest on: the short names of the kit, and a kernel that shows what child processes print."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from chatlab import run
from tests.kit.waiting import alive, until

ROOT = Path(__file__).resolve().parents[2]
CHILDREN_SPEAK = """\
import subprocess, sys
for word in ("one", "two"):
    subprocess.run([sys.executable, "-c", f"import os; os.write(1, b'said by child {word}\\\\n')"], check=True)
print("said by the kernel")"""
SAID = "said by child one\nsaid by child two\nsaid by the kernel\n"
SERVE = """\
from chatlab import launch
server = launch("labs/01_fork/fork_server.py", "--port", "0", trace=True)
client = server.connect()
client.sendall(b"hello")
assert client.recv(100) == b"hello"
print(*server.trace.names())"""


@pytest.mark.parametrize("names", list(itertools.permutations(["run", "launch", "why"])), ids=" ".join)
def test_the_short_names_are_functions_in_any_order(names):
    """Modules of the same names exist, and importing one must not put it in the function's place."""
    lines = [
        f"from chatlab import {', '.join(names)}, check, plot",
        "import chatlab.launch.tree, chatlab.why",
        "from chatlab import launch, why",
        "assert all(callable(name) for name in (run, launch, why, check))",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True, timeout=60)


def test_names_are_the_same_in_every_run():
    """Three turns of a loop in which everybody forks: who is whose child can be read from the names."""
    done = run("labs/01_fork/pitfalls.py", "too-many-processes", trace=True)
    if not done.trace.exact:
        pytest.skip("strace is not installed")
    names = done.trace.names("program")
    assert names[done.pid] == "program"
    assert sorted(names.values()) == [
        "child 1", "child 1.1", "child 1.1.1", "child 1.2", "child 2", "child 2.1", "child 3", "program",
    ]  # fmt: skip
    parents = {names[process.pid]: names.get(process.parent) for process in done.trace.processes}
    assert parents["child 1.1.1"] == "child 1.1"
    assert parents["child 2"] == "program"


@pytest.fixture(scope="module")
def kernel():
    """The name of the notebooks' kernel, installed."""
    pytest.importorskip("nbval", reason="make environment-notebooks installs what notebooks need")
    subprocess.run([sys.executable, "-m", "chatlab", "kernelspec"], cwd=ROOT, check=True, capture_output=True)
    return "chatlab"


@pytest.mark.parametrize(("stored", "status"), [(SAID, 0), (SAID.replace("two", "three"), 1)], ids=["held", "differs"])
def test_nbval_compares_what_children_print(kernel, stored, status, tmp_path):
    """A plain kernel loses it under nbval, which then compares nothing."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    outputs = [new_output("stream", name="stdout", text=stored)]
    book = new_notebook(cells=[new_code_cell(CHILDREN_SPEAK, outputs=outputs, execution_count=1)])
    nbformat.write(book, tmp_path / "speak.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "speak.ipynb"]
    command += ["--nbval-kernel-name", kernel, "--nbval-cell-timeout", "60"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, done.stdout


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_kernel_that_goes_leaves_no_server(kernel, how):
    """A student restarts the kernel while a server runs in it, or the kernel dies."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name=kernel, cwd=ROOT)
    try:
        said = []
        reply = client.execute_interactive(
            SERVE, timeout=60, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok", said
        pids = [int(word) for word in "".join(said).split()]
        assert len(pids) >= 2 and all(map(alive, pids))
        if how == "restart":
            manager.restart_kernel(now=True)
        else:
            manager.signal_kernel(9)
        until(lambda: not any(map(alive, pids)), "the server and its children to be gone")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
