"""Output without a terminal: a line every few seconds, whole, with our warnings and nobody else's noise."""

import io
import queue
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from noisy_job import noisy
from rich.console import Console

from sgpo.recipe.display import TrainingDisplay
from sgpo.runs import progress as module
from sgpo.runs.jobs import ProcessJob, _show_messages, run_jobs
from sgpo.runs.processes import mistakes_in_one_line
from sgpo.runs.progress import hush, progress


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What standard error has had until ``text`` was there."""
    shown, until = "", time.monotonic() + 120
    while text not in shown and time.monotonic() < until:
        shown += capsys.readouterr().err
        time.sleep(0.005)
    assert text in shown
    return shown


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def monotonic(self) -> float:
        self.asked += 1
        return self.now

    def set(self, now: float) -> None:
        """Go to ``now``, and wait for looks that could print a line; each asks two to four times for the time."""
        self.now = now
        until = self.asked + 12
        while self.asked <= until:
            time.sleep(0.005)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The display's own, by which a look for news every hundredth of a second takes no time."""
    clock = Clock()
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_display_needs_nothing_of_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython comes with the extra dev alone; a plain installation trains without it."""
    removed: list[str] = []
    trainer = SimpleNamespace(
        args=SimpleNamespace(disable_tqdm=False),
        remove_callback=lambda kind: removed.append(kind.__name__),
        add_callback=lambda callback: None,
    )
    monkeypatch.setitem(sys.modules, "IPython", None)  # so that its import fails
    monkeypatch.delitem(sys.modules, "transformers.utils.notebook", raising=False)
    TrainingDisplay.install(trainer)
    assert removed == ["ProgressCallback", "PrinterCallback"]
    notebook = SimpleNamespace(NotebookProgressCallback=type("NotebookProgressCallback", (), {}))
    monkeypatch.setitem(sys.modules, "transformers.utils.notebook", notebook)
    TrainingDisplay.install(trainer)
    assert removed[2:] == ["ProgressCallback", "PrinterCallback", "NotebookProgressCallback"]


def test_an_error_before_anything_is_done_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("verify") as shown:
        shown.add_task("", total=None, note="")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_are_for_a_terminal_whose_user_has_not_set_no_color(
    terminal: bool, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("NO_COLOR", no_color)
    with pytest.raises(SystemExit), mistakes_in_one_line():
        raise ValueError("a mistake")
    text = "error: a mistake"
    assert shown.getvalue() == (f"\033[31m{text}\033[0m\n" if coloured else f"{text}\n")


def test_a_line_for_a_change_and_the_last_state_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("lift") as shown:
        task = shown.add_task("", total=40, note="")
        shown.update(task, completed=3, note="128 samples")
        said = wait_for("lift 3/40 128 samples after 0 s\n", capsys)
        shown.update(task, completed=40, note="512 samples " + "x" * 200)
    said += capsys.readouterr().err
    assert said.count("lift 3/40 128 samples") == 1
    assert said.count("lift 40/40 512 samples") == 1
    assert max(map(len, said.splitlines())) > 200  # a log has no width at which to break
    assert "\r" not in said
    assert "\x1b" not in said


def test_a_run_that_stands_still_says_so(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("extract") as shown:
        shown.add_task("", total=None, note="")
        for now in (0, 30, 59, 60, 90, 119, 120):
            clock.set(now)
    lines = [f"extract 0/? after {after}" for after in ("0 s", "1 min 0 s", "2 min 0 s")]
    assert capsys.readouterr().err.splitlines() == lines


def test_lines_become_rarer_in_a_long_run(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """After ten minutes it is six seconds, a hundredth of them."""
    with progress("train") as shown:
        clock.now = 600
        task = shown.add_task("step", total=100, completed=1, note="")
        for step, now in enumerate((600, 603, 606, 607, 612), 1):
            shown.update(task, completed=step)
            clock.set(now)
        shown.update(task, completed=100)
    lines = [f"train step {step}/100 after 10 min {after} s" for step, after in ((1, 0), (4, 7), (100, 12))]
    assert capsys.readouterr().err.splitlines() == lines


def test_several_tasks_are_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as shown:
        tasks = [shown.add_task(name, total=1.0, note="waiting") for name in "abcdefgh"]
        shown.update(tasks[0], completed=1.0)
        for task in tasks[1:7]:
            shown.update(task, completed=0.5, note="accuracy 0.250")
        state = "50% accuracy 0.250"
        line = f"1/8 done; b {state}; c {state}; d {state}; e {state}; 2 more after 0 s"
        assert line in wait_for(f"{line}\n", capsys).splitlines()


@pytest.mark.parametrize("bar", [True, False])
def test_a_terminal_gets_bars_unless_lines_are_asked_for(bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    with progress("eval", bar=bar) as shown:
        assert shown.live.is_started == bar


def test_a_narrow_terminal_shows_the_steps_the_metrics_and_the_clock_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    note = "reward 0.123 pass 0.0833 guided 0.25 alpha 0.318 loss 0.0123 tokens 61.1 cut 0.938"
    with progress("train") as shown:
        shown.add_task("step", total=3540, completed=1234, note=note)
        narrow = Console(width=80, file=io.StringIO())
        narrow.print(shown.make_tasks_table(shown.tasks))
    said = narrow.file.getvalue()  # type: ignore[attr-defined]
    assert "1234/3540" in said
    assert "0:00:00" in said
    assert [word for word in note.split() if word not in said.split()] == []


def test_other_packages_are_hushed_and_we_are_not(recwarn: pytest.WarningsRecorder) -> None:
    import datasets

    hush()
    warnings.warn("use another name", FutureWarning, stacklevel=1)
    warnings.warn("the disk is full", stacklevel=1)
    assert [str(each.message) for each in recwarn] == ["the disk is full"]
    assert datasets.are_progress_bars_disabled()


def test_a_pipe_that_knows_no_letter_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under PYTHONIOENCODING=ascii, or with a file name that is no UTF-8."""
    for encoding, text in (("ascii", "≤ é"), ("cp1252", "≤"), ("utf-8", "d\udcc3")):
        pipe = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", pipe)
        hush()
        print(text, flush=True)
        assert b"\\" in pipe.buffer.getvalue()  # type: ignore[attr-defined]


def test_warnings_that_were_asked_for_are_given() -> None:
    code = (
        "import warnings; from sgpo.runs.progress import hush; hush(); warnings.warn('use another name', FutureWarning)"
    )
    for flags, shown in (((), False), (("-W", "default"), True)):
        done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)
        assert ("use another name" in done.stderr) == shown


def test_a_job_that_is_measured_after_its_training_is_not_done(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    messages: queue.Queue[Any] = queue.Queue()
    with progress() as shown:
        tasks = {name: shown.add_task(name, total=1.0, note="") for name in ("a", "b")}
        messages.put(("a", 1.0, {"accuracy": 0.5}))
        _show_messages(messages, shown, tasks, {"a": None, "b": None})
    assert capsys.readouterr().err.startswith("0/2 done; a 99% accuracy 0.500 being measured after")


def test_a_job_in_a_process_is_heard_where_it_warns(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_jobs([ProcessJob("noisy", noisy, ())], 1) == {"noisy": 3}
    said = capfd.readouterr().err.splitlines()
    assert "noisy: every rollout had the reward 0" in said
    assert said[-1].startswith("noisy 100% accuracy 0.250 after")
    assert not any("generation flags" in line or "another name" in line for line in said)


def test_training_is_lines_with_the_metrics_that_matter(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "EVERY", 3600.0)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=10, global_step=4)
    with TrainingDisplay(bar=True) as display:
        display.on_train_begin(None, state, None)
        state.global_step = 5
        display.on_step_end(None, state, None)
        display.on_log(None, state, None, logs={"reward": 0.53125, "sgpo/alpha": 0.2, "num_tokens": 9e9, "epoch": 0.1})
    assert capsys.readouterr().err.splitlines() == ["train step 5/10 reward 0.531 alpha 0.2 after 0 s"]


def test_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    state = SimpleNamespace(is_world_process_zero=False, max_steps=10, global_step=0)
    with TrainingDisplay(bar=True) as display:
        display.on_train_begin(None, state, None)
        display.on_log(None, state, None, logs={"reward": 0.5})
    assert capsys.readouterr().err == ""
