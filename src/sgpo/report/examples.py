"""Strategies with their lift, and sampled responses, for the templates. What is shown is bounded, and says so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from sgpo.report import svg
from sgpo.report.problems import Lift, Logs, lifts, mean_or_none
from sgpo.report.run import Run
from sgpo.runs.bounded import read_bounded_rows
from sgpo.runs.entries import SampleRow
from sgpo.runs.methods import spoken_label

MAX_STRATEGIES = 20  # from each end
MIN_DRAWN = 3  # times
MAX_SAMPLES = 10  # of a method
MAX_READ = 2_000  # lines of samples.jsonl


class StrategyRow(NamedTuple):
    """A strategy with its lift, and which problems carry it."""

    lift: Lift
    what: str
    strip: Markup


@dataclass(frozen=True)
class StrategiesView:
    """The section on which strategies lift: ``total`` that were drawn often enough, ``rare`` that were not; ``both``
    were drawn in both halves of training, with the mean lifts ``early`` and ``late``."""

    method: str
    seeds: int
    rows: Sequence[StrategyRow]
    rarely: int
    total: int
    rare: int
    all_rare: bool
    harm: int
    both: int
    early: float | None
    late: float | None


def strategies(logs: Logs) -> StrategiesView | None:
    """The strategies with the highest and the lowest lift while the first method with a log trained; None without one.

    The lift of few draws is chance, so that strategies drawn rarely are shown only where there are no others.
    """
    method = next(iter(logs), None)
    found = lifts(logs[method]) if method is not None else []
    if method is None or not found:
        return None
    often = [lift for lift in found if lift.drawn >= MIN_DRAWN]
    listed = often or found
    # Both ends: what helps most, and what harms.
    shown = listed if len(listed) <= 2 * MAX_STRATEGIES else listed[:MAX_STRATEGIES] + listed[-MAX_STRATEGIES:]
    both = [(lift.early, lift.late) for lift in listed if lift.early is not None and lift.late is not None]
    scale = (min(0.0, listed[-1].lift), max(0.0, listed[0].lift) or 1.0)
    return StrategiesView(
        method=spoken_label(method),
        seeds=len(logs[method]),
        rows=[StrategyRow(lift, _carriers(lift), svg.strip(lift.lift, scale, hue=0)) for lift in shown],
        rarely=MIN_DRAWN,
        total=len(listed),
        rare=len(found) - len(listed),
        all_rare=not often,
        harm=sum(lift.lift < 0 for lift in listed),
        both=len(both),
        early=mean_or_none([early for early, _ in both]),
        late=mean_or_none([late for _, late in both]),
    )


def _carriers(lift: Lift) -> str:
    """Which problems carry a strategy."""
    problems = lift.problems[0] if len(lift.problems) == 1 else f"{len(lift.problems)} problems"
    return f"{', '.join(lift.families[:3])}: {problems}" if lift.families else problems


@dataclass(frozen=True)
class SampleGroup:
    """Some of the ``total`` samples that a cell has kept; ``rates`` say how many of all are correct."""

    label: str
    cell: str
    total: int
    rows: Sequence[SampleRow]
    rates: Sequence[str]

    @property
    def capped(self) -> bool:
        return self.total == MAX_READ


def samples(run: Run) -> list[SampleGroup]:
    """Responses of each method's first cell that has any: the first of each family, then what follows."""
    groups = []
    for name in dict.fromkeys([*run.order, *(cell.method for cell in run.cells)]):
        for cell in (c for c in run.cells if c.method == name):
            lines = read_bounded_rows(cell.path / "samples.jsonl", run.notices, limit=MAX_READ)
            if read := [SampleRow.from_json(line) for line in lines]:
                chosen = list(_spread(read))[:MAX_SAMPLES]
                # One cell a method: its seeds write much the same, and the page has its bounds.
                groups.append(SampleGroup(spoken_label(name), cell.name, len(read), chosen, _rates(read)))
                break
    return groups


def _spread(rows: Sequence[SampleRow]) -> Iterator[SampleRow]:
    """The first row of each family, then the others, both in the file's order: nothing is picked by its looks."""
    seen: set[str | None] = set()
    later = []
    for row in rows:
        if row.family in seen:
            later.append(row)
        else:
            seen.add(row.family)
            yield row
    yield from later


def _rates(rows: Sequence[SampleRow]) -> list[str]:
    """How often each side is right over all samples that were read, not only those shown."""
    sides = {"without": [row.autonomous_correct for row in rows], "with": [row.guided_correct for row in rows]}
    found = []
    for side, verdicts in sides.items():
        if known := [verdict for verdict in verdicts if verdict is not None]:
            share = 100 * sum(known) / len(known)
            found.append(f"{side} the strategy {share:.0f}% of {len(known)} are correct")
    return found
