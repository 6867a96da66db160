"""Strategies with their lift, and sampled responses, for the templates. What is shown is bounded, and says so."""

from collections.abc import Iterator
from typing import Any

from sgpo.report import svg
from sgpo.report.files import read_lines
from sgpo.report.problems import Lift, Logs, lifts, mean
from sgpo.report.run import Run, label
from sgpo.report.text import bound

MAX_STRATEGIES = 20  # from each end
MIN_DRAWN = 3  # times
MAX_SAMPLES = 10  # of a method
MAX_READ = 2_000  # lines of samples.jsonl
MAX_TEXT = 3_000  # characters of a response
MAX_PROBLEM = 1_500  # of a problem, a strategy or an answer


def strategies(logs: Logs) -> dict[str, Any] | None:
    """The strategies with the highest and the lowest lift while the first method with a log trained; None without one.

    The lift of few draws is chance, so that strategies drawn rarely are shown only where there are no others.
    """
    method = next(iter(logs), None)
    found = lifts(logs[method]) if method is not None else []
    if method is None or not found:
        return None
    often = [lift for lift in found if lift.drawn >= MIN_DRAWN]
    listed = often or found
    shown = listed if len(listed) <= 2 * MAX_STRATEGIES else listed[:MAX_STRATEGIES] + listed[-MAX_STRATEGIES:]
    both = [(lift.early, lift.late) for lift in listed if lift.early is not None and lift.late is not None]
    scale = (min(0.0, listed[-1].lift), max(0.0, listed[0].lift) or 1.0)
    return {
        "method": label(method),
        "seeds": len(logs[method]),
        "rows": [
            {"lift": lift, "what": _carriers(lift), "strip": svg.strip(lift.lift, scale, hue=0)} for lift in shown
        ],
        "rarely": MIN_DRAWN,
        "total": len(listed),
        "rare": len(found) - len(listed),
        "all_rare": not often,
        "harm": sum(lift.lift < 0 for lift in listed),
        "halves": (len(both), mean([early for early, _ in both]), mean([late for _, late in both])),
    }


def _carriers(lift: Lift) -> str:
    """Which problems carry a strategy."""
    problems = lift.problems[0] if len(lift.problems) == 1 else f"{len(lift.problems)} problems"
    return f"{', '.join(lift.families[:3])}: {problems}" if lift.families else problems


def samples(run: Run) -> list[dict[str, Any]]:
    """Responses of each method's first cell that has any: the first of each family, then what follows."""
    groups = []
    for name in dict.fromkeys([*run.order, *(cell.method for cell in run.cells)]):
        for cell in (c for c in run.cells if c.method == name):
            read = list(read_lines(cell.path / "samples.jsonl", run.notices, limit=MAX_READ))
            if read:
                chosen = list(_spread(read))[:MAX_SAMPLES]
                facts = {"label": label(name), "cell": cell.name, "total": len(read), "capped": len(read) == MAX_READ}
                groups.append({**facts, "rows": [_sample(row) for row in chosen], "rates": _rates(read)})
                break
    return groups


def _spread(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first row of each family, then the others, both in the file's order: nothing is picked by its looks."""
    seen: set[str] = set()
    later = []
    for row in rows:
        family = str(row.get("family"))
        if family in seen:
            later.append(row)
        else:
            seen.add(family)
            yield row
    yield from later


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    sides = [
        {"title": title, "text": bound(row.get(key), MAX_TEXT), "correct": row.get(f"{key}_correct")}
        for key, title in (("autonomous", "Without the strategy"), ("guided", "With the strategy"))
        if row.get(key) is not None
    ]
    return {**_texts(row, "id", "family", "problem", "strategy", "answer"), "sides": sides}


def _rates(rows: list[dict[str, Any]]) -> list[str]:
    """How often each side is right over all samples that were read, not only those shown."""
    found = []
    for key, title in (("autonomous", "without"), ("guided", "with")):
        verdicts = [row[f"{key}_correct"] for row in rows if isinstance(row.get(f"{key}_correct"), bool)]
        if verdicts:
            found.append(
                f"{title} the strategy {100 * sum(verdicts) / len(verdicts):.0f}% of {len(verdicts)} are correct"
            )
    return found


def _texts(row: dict[str, Any], *keys: str) -> dict[str, str]:
    return {key: bound(row.get(key), MAX_PROBLEM) for key in keys}
