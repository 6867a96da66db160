"""Strategies with their lift, and sampled responses, for the templates. What is shown is bounded, and says so."""

from collections.abc import Iterator
from typing import Any

from sgpo.report import svg
from sgpo.report.files import number, numbers, read_lines
from sgpo.report.run import Run, label
from sgpo.report.text import bound

MAX_STRATEGIES = 20  # from each end
MAX_SAMPLES = 10  # of a method
MAX_READ = 2_000  # lines of samples.jsonl
MAX_TEXT = 3_000  # characters of a response
MAX_PROBLEM = 1_500  # of a problem, a strategy or an answer


def strategies(run: Run) -> dict[str, Any] | None:
    """The strategies with the highest and the lowest lift; None without strategies.jsonl."""
    rows: list[dict[str, Any]] = []
    for row in read_lines(run.path / "strategies.jsonl", run.notices):
        if (lift := number(row.get("lift"))) is not None:
            ends = numbers(row.get("lift_ci95"), 2)
            texts = _texts(row, "strategy", "problem_type")
            rows.append({**texts, "lift": lift, "ends": ends, "n": row.get("problems")})
    if not rows:
        return None
    rows.sort(key=lambda row: -row["lift"])
    reach = [end for row in rows for end in (row["lift"], *(row["ends"] or ()))]
    scale = (max(-1.0, min(0.0, *reach)), min(1.0, max(0.0, *reach)) or 1.0)
    total = len(rows)
    if total > 2 * MAX_STRATEGIES:
        rows = rows[:MAX_STRATEGIES] + rows[-MAX_STRATEGIES:]
    for row in rows:
        row["strip"] = svg.strip(row["lift"], scale, ends=row["ends"] and tuple(row["ends"]), hue=0)
    sure = sum(row["ends"] is not None and row["ends"][0] > 0 for row in rows)
    harm = sum(row["ends"] is not None and row["ends"][1] < 0 for row in rows)
    return {"rows": rows, "axis": svg.axis(scale), "total": total, "sure": sure, "harm": harm}


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
