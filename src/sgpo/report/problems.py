"""The problem logs of a run (:mod:`sgpo.trainer.problem_log`), and what they come to: alpha over time, problem by
problem and family by family, and the lift of each strategy while it was trained with.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from sgpo.report.run import Run
from sgpo.report.text import bound
from sgpo.runs.bounded import read_bounded_rows
from sgpo.runs.json_entry import finite

MAX_ROWS = 300_000  # of all logs of a run
MAX_FILES = 1_024  # of one cell: its processes
MAX_NAME = 100  # characters of an id or a family
MAX_STRATEGY = 1_500
_FILE = re.compile(r"problems(-rank\d+)?\.jsonl")


class LoggedProblem(NamedTuple):
    """A problem of a generation batch; ``guided`` is None where it had no guided rollouts."""

    step: int
    id: str
    family: str | None
    autonomous: float
    guided: float | None
    alpha: float
    strategy: str | None


Log = list[LoggedProblem]  # of one cell, in the order of steps
Logs = dict[str, list[Log]]  # by method, one a cell


def read_logs(run: Run) -> Logs:
    """The logs of the cells that are drawn, in the order of ``run.order``; methods without any are left out."""
    cells = {method: run.cells_of(method) for method in run.order}
    limit = MAX_ROWS // max(1, sum(map(len, cells.values())))
    logs = {method: [read_log(c.path, run.notices, limit) for c in found] for method, found in cells.items()}
    return {method: [log for log in found if log] for method, found in logs.items() if any(found)}


def read_log(folder: Path, notices: list[str], limit: int = MAX_ROWS) -> Log:
    """The rows of a directory's ``problems*.jsonl``, about ``limit`` lines of them; ``notices`` say what was left out.

    Where a file goes back in its steps, a run began anew or went on from a checkpoint: the rows that it wrote from
    that step on are void. Of two rows with the same step and id the later one counts.
    """
    paths = sorted(path for path in folder.glob("problems*.jsonl") if _FILE.fullmatch(path.name))[:MAX_FILES]
    texts: dict[str, str] = {}  # strategies come again and again
    kept: dict[tuple[int, str], LoggedProblem] = {}
    for path in paths:
        for row in _without_repeats(_read(path, notices, max(1, limit // len(paths)), texts)):
            # Ranks write files of their own, and a run that went on from a checkpoint writes a step once more.
            kept[row.step, row.id] = row
    return sorted(kept.values(), key=lambda row: row.step)


def _read(path: Path, notices: list[str], limit: int, texts: dict[str, str]) -> Iterable[LoggedProblem]:
    count = unfit = 0
    for value in read_bounded_rows(path, notices, limit=limit):
        count += 1
        if (row := _row(value, texts)) is None:
            unfit += 1
        else:
            yield row
    if unfit:
        what = "row that is" if unfit == 1 else "rows that are"
        notices.append(f"{path.parent.name}/{path.name}: {unfit} {what} no problem of a run left out.")
    if count == limit:
        notices.append(f"{path.parent.name}/{path.name}: no more than its first {limit} lines were read.")


def _row(value: Mapping[str, object], texts: dict[str, str]) -> LoggedProblem | None:
    step, alpha = finite(value.get("step")), finite(value.get("alpha"))
    autonomous, guided = finite(value.get("autonomous_pass_rate")), finite(value.get("guided_pass_rate"))
    # What no trainer writes would stretch an axis until nothing else can be seen on it.
    if step is None or not 0 <= step < 1e12 or alpha is None or not 0 <= alpha < 1e6 or value.get("id") is None:
        return None
    if autonomous is None or not 0 <= autonomous <= 1 or not 0 <= (guided or 0.0) <= 1:
        return None
    family, strategy = value.get("family"), value.get("strategy")
    text = bound(strategy, MAX_STRATEGY).strip()
    return LoggedProblem(
        int(step),
        bound(value["id"], MAX_NAME),
        None if family is None else texts.setdefault(name := bound(family, MAX_NAME), name),
        autonomous,
        guided,
        round(alpha, 6),  # of a float32
        texts.setdefault(text, text) if text else None,
    )


def _without_repeats(rows: Iterable[LoggedProblem]) -> Iterable[LoggedProblem]:
    kept: list[list[LoggedProblem]] = []  # the rows of each step, by rising step
    for row in rows:
        # The run began anew, or from a checkpoint: what it had written from this step on is void.
        if kept and row.step < kept[-1][0].step:
            while kept and kept[-1][0].step >= row.step:
                kept.pop()
        if kept and kept[-1][0].step == row.step:
            kept[-1].append(row)
        else:
            kept.append([row])
    return (row for step in kept for row in step)


# ---------------------------------------------------------------- alpha


def last_step(logs: Sequence[Log]) -> int:
    """The last step of any cell, at least 1."""
    return max(1, *(log[-1].step for log in logs))


def window(step: int, last: int, windows: int) -> int:
    """Which of ``windows`` equal parts of steps 1 to ``last`` a step lies in, from 0."""
    return min(windows - 1, max(0, windows * (step - 1) // last))


def alpha_counts(logs: Sequence[Log], windows: int, bins: int, which: Callable[[float], int]) -> list[list[float]]:
    """Problems with a strategy by time and by alpha: ``[windows][bins]``, mean counts over cells.

    Args:
        which: the bin of an alpha, from 0.
    """
    last = last_step(logs)
    counts = [[0.0] * bins for _ in range(windows)]
    for log in logs:
        for row in log:
            if row.strategy is not None:
                counts[window(row.step, last, windows)][which(row.alpha)] += 1 / len(logs)
    return counts


def alpha_by_family(logs: Sequence[Log], windows: int) -> dict[str, list[float | None]]:
    """Mean alpha of each family's problems with a strategy in each window, by falling mean; None: no such problem."""
    last = last_step(logs)
    found: dict[str, dict[tuple[int, int], list[float]]] = {}  # family -> (window, cell) -> alphas
    for i, log in enumerate(logs):
        for row in log:
            if row.family is not None and row.strategy is not None:
                at = window(row.step, last, windows), i
                found.setdefault(row.family, {}).setdefault(at, []).append(row.alpha)
    table = {}
    for family, groups in found.items():
        by_window = [[v for (j, _), v in groups.items() if j == i] for i in range(windows)]
        table[family] = [
            mean_or_none([m for group in cells if (m := mean_or_none(group)) is not None]) for cells in by_window
        ]
    return dict(sorted(table.items(), key=lambda item: -(mean_or_none([v for v in item[1] if v is not None]) or 0.0)))


def mean_or_none(values: Sequence[float]) -> float | None:
    """The mean of the values; None where there are none."""
    return fmean(values) if values else None


# ---------------------------------------------------------------- strategies


class Lift(NamedTuple):
    """A strategy while it was trained with. Lift is the guided minus the autonomous pass rate, over the ``drawn``
    times that both were measured; ``early`` and ``late`` are those of the two halves of the run."""

    strategy: str
    problems: list[str]
    families: list[str]
    drawn: int
    lift: float
    early: float | None
    late: float | None


def lifts(logs: Sequence[Log]) -> list[Lift]:
    """The lift of each strategy over all cells, highest first."""
    last = last_step(logs)
    by_strategy: dict[str, list[LoggedProblem]] = {}
    for row in (row for log in logs for row in log):
        if row.strategy is not None and row.guided is not None:
            by_strategy.setdefault(row.strategy, []).append(row)
    found = []
    for strategy, rows in by_strategy.items():
        problems, families = sorted({r.id for r in rows}), sorted({r.family for r in rows if r.family is not None})
        halves = [[_gain(r) for r in rows if window(r.step, last, 2) == part] for part in (0, 1)]
        lift = fmean(_gain(r) for r in rows)
        found.append(Lift(strategy, problems, families, len(rows), lift, *map(mean_or_none, halves)))
    return sorted(found, key=lambda lift: -lift.lift)


def _gain(row: LoggedProblem) -> float:
    return (row.guided or 0.0) - row.autonomous
