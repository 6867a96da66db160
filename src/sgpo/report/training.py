"""The directory of a training run as a :class:`sgpo.report.run.Run`: of any stage, any trainer, any version.

``training_log.jsonl`` is read first (:mod:`sgpo.trainer.run_log`). Runs of older versions and of other trainers have
``trainer_state.json`` alone, at the top or in their checkpoints.
"""

from pathlib import Path

from sgpo.report.run import Run, RunCell
from sgpo.report.series import PASS_RATE, collect
from sgpo.runs.bounded import read_bounded, read_bounded_rows
from sgpo.runs.entries import MetricsRow
from sgpo.runs.json_entry import whole_number

LOG = "training_log.jsonl"
Logged = tuple[list[MetricsRow], int, int]
"""The metrics that count, the steps that were planned, and the last one that was done."""
_PREFIXES = ("sgpo", "luffy", "hpt")  # of the metrics of our trainers, which are also names of methods


def is_training(path: Path) -> bool:
    """Whether a directory holds a training run."""
    return (path / LOG).is_file() or bool(_states(path))


def training(path: Path) -> Run:
    """Read a training run."""
    notices: list[str] = []
    rows, planned, stopped = _logged(path, notices) if (path / LOG).is_file() else _state(path, notices)
    cell = RunCell("run", "training", path, "done")
    collect(cell, rows)
    names = {name.partition("/")[0] for name in cell.series if name != PASS_RATE or not cell.pass_rate_from}
    cell.method = next((prefix for prefix in _PREFIXES if prefix in names), cell.method)
    run = Run(path, "training", [], [cell], stopped >= planned, notices=notices)
    if not cell.series:
        notices.append("No step has been logged so far. A run logs every logging_steps optimizer steps.")
    elif cell.method == "training":
        notices.append("No metric of SGPO, LUFFY or HPT is in this log: another trainer wrote it.")
    if not run.finished:
        cell.state = "running"
        logged = (path / LOG).is_file()
        why = ": the run is in progress, or was ended before its end" if logged else ", as of the last checkpoint"
        notices.append(f"Step {stopped} of {planned}{why}.")
    return run


def _logged(path: Path, notices: list[str]) -> Logged:
    """What ``training_log.jsonl`` says."""
    kept: list[MetricsRow] = []
    planned = 0
    for line in read_bounded_rows(path / LOG, notices):
        planned = whole_number(line.pop("max_steps", None)) or planned
        if (row := MetricsRow.from_json(line)) is None:
            continue
        # A line without metrics marks a start, anew or from a checkpoint. What was logged from that step on is void.
        begins = not line.keys() - {"step"}
        while kept and (kept[-1].step > row.step or (begins and row.step == 0)):
            # The trainer logs these steps once more.
            kept.pop()
        kept.append(row)
    return kept, planned, kept[-1].step if kept else 0


def _state(path: Path, notices: list[str]) -> Logged:
    """The same from the newest ``trainer_state.json`` that can be read."""
    found, fault = None, None
    # The newest may be torn by a kill; the one before is whole.
    for file in _states(path):
        try:
            found = read_bounded(file)
        except ValueError as error:
            fault = fault or error
            continue
        if isinstance(found.get("log_history"), list):
            break
    if found is None:
        raise ValueError(str(fault))
    history = found.get("log_history")
    lines = [line for line in history if isinstance(line, dict)] if isinstance(history, list) else []
    if not lines:
        raise ValueError(f"{_states(path)[0]} has no logged metrics; set logging_steps lower than the run's length.")
    if fault is not None:
        notices.append(str(fault))
    rows = [row for line in lines if (row := MetricsRow.from_json(line)) is not None]
    return rows, whole_number(found.get("max_steps")) or 0, whole_number(found.get("global_step")) or 0


def _states(path: Path) -> list[Path]:
    """The files of state, the newest first."""
    top = path / "trainer_state.json"
    steps = {
        int(file.parent.name[11:]): file
        for file in path.glob("checkpoint-*/trainer_state.json")
        if file.parent.name[11:].isdigit()
    }
    return [*([top] if top.is_file() else []), *(steps[step] for step in sorted(steps, reverse=True))]
