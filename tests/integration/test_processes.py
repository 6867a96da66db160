"""Whatever ends a process of a run ends all that it has started: real processes, real signals."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sgpo.runs.processes import guarded, mistakes_in_one_line

TREE = Path(__file__).with_name("processes_tree.py")
NAMES = ("failing", "cell", "verifier", "guard", "launcher", "rank", "orphan")
PATIENCE = 300.0  # seconds; not what it takes


def wait_for(what: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Tree:
    """The processes below a parent, by name."""

    def __init__(self, pid: int):
        self.parent = psutil.Process(pid)
        self.found: dict[str, psutil.Process] = {}

    def complete(self) -> bool:
        parts = {
            "verifier": "sgpo.rewards.worker",
            "guard": "-m sgpo.runs.processes",
            "launcher": f"{TREE} launcher",
            "rank": f"{TREE} rank",
            "orphan": "sleep 600",
        }
        below = {p: words(p) for p in self.parent.children(recursive=True)}
        for name, part in parts.items():
            hits = [p for p, line in below.items() if part in line and line.startswith((sys.executable, "sleep"))]
            if hits:  # the guard's words hold those of its command
                self.found[name] = min(hits, key=lambda p: p.create_time()) if name == "guard" else hits[-1]
        pool = [p for p, line in below.items() if "spawn_main" in line and p.ppid() == self.parent.pid]
        if "guard" in self.found and len(pool) == 2:
            self.found["cell"] = self.found["guard"].parent()
            self.found["failing"] = next(p for p in pool if p != self.found["cell"])
        return set(self.found) == set(NAMES)

    def left(self) -> list[str]:
        return [name for name, process in self.found.items() if alive(process)]

    def kill(self) -> None:
        for process in (self.parent, *self.found.values()):
            if alive(process):
                process.kill()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, str(TREE), str(tmp_path)], stdout=out, stderr=out)
    tree = Tree(process.pid)
    try:
        wait_for(tree.complete, lambda: f"there is only {sorted(tree.found)}: {(tmp_path / 'out').read_text()}")
        yield tree
    finally:
        tree.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL, signal.SIGQUIT])
def test_a_signal_to_the_parent_ends_the_tree(number: signal.Signals, tree: Tree, tmp_path: Path) -> None:
    tree.parent.send_signal(number)
    wait_for(lambda: not alive(tree.parent), lambda: "the parent lives on")
    wait_for(lambda: not tree.left(), lambda: f"left over: {tree.left()}")
    said = (tmp_path / "out").read_text()
    assert ("error: ended by SIGTERM" in said) == (number == signal.SIGTERM)
    assert not (tmp_path / "error.txt").exists()


def test_an_error_in_one_job_ends_the_others(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    wait_for(lambda: not tree.left() and not alive(tree.parent), lambda: f"left over: {tree.left()}")
    assert "ValueError: as it was told" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("name", ["cell", "guard", "launcher"])
def test_the_end_of_a_process_in_the_middle_ends_the_tree(name: str, tree: Tree, tmp_path: Path) -> None:
    tree.found[name].kill()
    # A stranger that left its parent behind is found by the guard alone.
    spared = {"orphan"} if name == "guard" else set()
    wait_for(lambda: not {*tree.left()} - spared and not alive(tree.parent), lambda: f"left over: {tree.left()}")
    said = "ChildProcessError: The process of a run was ended" if name == "cell" else "the process ended with code"
    assert said in " ".join((tmp_path / "out").read_text().split())


def test_a_closed_terminal_ends_the_tree(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.execv(sys.executable, [sys.executable, str(TREE), str(tmp_path)])
    tree = Tree(pid)
    try:
        wait_for(lambda: bool(os.read(terminal, 1)) and tree.complete(), lambda: f"there is only {sorted(tree.found)}")
        os.close(terminal)
        wait_for(lambda: not tree.left() and not alive(tree.parent), lambda: f"left over: {tree.left()}")
    finally:
        tree.kill()
        os.waitpid(pid, 0)


def test_a_command_that_is_deaf_to_signals_ends_with_the_block(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    with (tmp_path / "out").open("w+") as out:
        with guarded([sys.executable, "-c", deaf], out.fileno()) as guard:
            wait_for(lambda: "up" in (tmp_path / "out").read_text(), lambda: "does not start")
            (command,) = psutil.Process(guard.pid).children()
        wait_for(lambda: not alive(command), lambda: "left over")


@pytest.mark.parametrize(("code", "expected"), [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_the_code_of_a_guarded_command_is_handed_on(code: str, expected: int, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        with guarded([sys.executable, "-c", f"import os, sys; {code}"], out.fileno()) as guard:
            guard.wait(PATIENCE)
        assert guard.returncode == expected


RANK = """
import os, sys, threading, time, types
import sgpo
package, run = types.ModuleType("sgpo.recipe"), types.ModuleType("sgpo.recipe.run")
package.__path__ = [os.path.join(sgpo.__path__[0], "recipe")]
run.main = lambda: (print("up", [one.name for one in threading.enumerate()], flush=True), time.sleep(600))
sys.modules.update({"sgpo.recipe": package, "sgpo.recipe.run": run})
import sgpo.recipe.__main__
"""


@pytest.mark.parametrize("launched", [True, False])
def test_a_rank_ends_with_its_launcher_and_a_run_without_one_outlives_its_shell(launched: bool, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {RANK!r}])"
    with (tmp_path / "out").open("w") as out:
        env = {**variables, **({"TORCHELASTIC_RUN_ID": "none"} if launched else {})}
        parent = subprocess.Popen([sys.executable, "-c", start], stdout=out, stderr=out, env=env)
    try:
        wait_for(lambda: "up [" in (tmp_path / "out").read_text(), lambda: "the rank does not start")
        (rank,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.wait()
    assert ("watch-parent" in (tmp_path / "out").read_text()) == launched
    if launched:
        wait_for(lambda: not alive(rank), lambda: "left over")
    else:
        time.sleep(1.5)
        assert alive(rank)
        rank.kill()


def test_a_launched_recipe_says_a_mistake_in_one_line() -> None:
    mistaken = re.sub("run.main = lambda: .*", "run.main = lambda: int('no number')", RANK)
    done = subprocess.run([sys.executable, "-c", mistaken], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: invalid literal")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_ranks_with_one_mistake_the_first_says_it_before_the_launcher_ends_the_others(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("sgpo.runs.processes.time.sleep", waited.append)
    with pytest.raises(SystemExit) as end, mistakes_in_one_line():
        raise ValueError("max_steps is 1.5")
    assert (end.value.code, capsys.readouterr().err) == (2, "error: max_steps is 1.5\n")
    assert bool(waited) == (rank == "1")


def test_a_path_that_the_system_refuses_is_named_without_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), mistakes_in_one_line():
        (tmp_path / "absent" / "run").mkdir()
    said = f"error: {tmp_path}/absent/run cannot be used: No such file or directory; give another path, or make this"
    assert capsys.readouterr().err.startswith(said)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As under nohup."""
    code = (
        "import os, signal; from sgpo.runs.processes import ended_tidily\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with ended_tidily(): os.kill(os.getpid(), signal.SIGHUP); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "on\n")


HOLD = """
import sys, time
from sgpo.runs.files import locked
with locked(sys.argv[1]):
    print("in", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the directory ``tmp_path / "run"``."""
    (tmp_path / "run").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "in\n"
        yield one
        one.kill()


def test_a_quickstart_leaves_what_is_not_its_own_alone(tmp_path: Path) -> None:
    from sgpo.lab.quickstart import run_quickstart

    (tmp_path / "results.json").write_text("of an evaluation")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds settings\.json, which is not of a quickstart; give another --out"):
        run_quickstart(tmp_path)
    with pytest.raises(ValueError, match="is a file; give the path of a folder"):
        run_quickstart(tmp_path / "results.json")
    assert (tmp_path / "results.json").read_text() == "of an evaluation"


def test_a_second_comparison_or_quickstart_in_a_directory_is_refused(
    holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo.compare.run import ComparePlan, run_comparison
    from sgpo.lab import quickstart

    def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("it began to work")

    monkeypatch.setattr("sgpo.lab.quickstart.run_jobs", fail)
    monkeypatch.setattr("sgpo.compare.lab.LabTask.prepare", fail)
    out = tmp_path / "run"
    for command in (
        lambda: run_comparison(ComparePlan(("sft",), seeds=1), out),
        lambda: quickstart.run_quickstart(out),
    ):
        with pytest.raises(ValueError, match=f"run is in use by process {holder.pid}.*give another --out"):
            command()
    assert [path.name for path in out.iterdir()] == [".lock"]
    holder.kill()
    holder.wait()
    with pytest.raises(AssertionError, match="it began to work"):  # the lock of the dead stays behind, and holds nobody
        run_comparison(ComparePlan(("sft",), seeds=1), out)
