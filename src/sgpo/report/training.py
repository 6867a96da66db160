"""The directory of a training run as a :class:`sgpo.report.run.Run`: of any stage, any trainer, any version.

``training_log.jsonl`` is read first (:mod:`sgpo.trainer.run_log`). Runs of older versions and of other trainers have
``trainer_state.json`` alone, at the top or in their checkpoints.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sgpo.report.files import read_bounded, read_bounded_rows
from sgpo.report.run import Run, RunCell
from sgpo.report.series import PASS_RATE, collect
from sgpo.runs.entries import finite

LOG = "training_log.jsonl"
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


def _logged(path: Path, notices: list[str]) -> tuple[list[dict[str, Any]], int, int]:
    """The metrics that count, the steps that were planned, and the last one that was done."""
    kept: list[dict[str, Any]] = []
    planned = 0
    for row in read_bounded_rows(path / LOG, notices):
        if (step := finite(row.get("step"))) is None:
            continue
        planned = int(finite(row.pop("max_steps", None)) or planned)
        begins = not row.keys() - {"step"}  # anew, or from a checkpoint
        while kept and (kept[-1]["step"] > step or (begins and step == 0)):
            kept.pop()
        kept.append(row)
    return kept, planned, int(kept[-1]["step"]) if kept else 0


def _state(path: Path, notices: list[str]) -> tuple[Iterable[dict[str, Any]], int, int]:
    """The same from the newest ``trainer_state.json`` that can be read.

    Raises:
        ValueError: none of them can, or none has logged anything.
    """
    found, fault = None, None
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
    rows = [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []
    if not rows:
        raise ValueError(f"{_states(path)[0]} has no logged metrics; set logging_steps lower than the run's length.")
    if fault is not None:
        notices.append(str(fault))
    return rows, int(finite(found.get("max_steps")) or 0), int(finite(found.get("global_step")) or 0)


def _states(path: Path) -> list[Path]:
    """The files of state, the newest first."""
    top = path / "trainer_state.json"
    steps = {
        int(file.parent.name[11:]): file
        for file in path.glob("checkpoint-*/trainer_state.json")
        if file.parent.name[11:].isdigit()
    }
    return [*([top] if top.is_file() else []), *(steps[step] for step in sorted(steps, reverse=True))]
