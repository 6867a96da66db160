"""The results of a comparison as text, Markdown and CSV."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from sgpo.compare.results import SCORE_NAMES
from sgpo.runs.entries import ComparisonResults, MethodResult
from sgpo.runs.files import write_text
from sgpo.runs.scores import SeedMean
from sgpo.runs.words import axis_name, in_thousands
from sgpo.trainer.methods import find_method

Rows = list[list[str]]
Methods = Mapping[str, MethodResult]


def write_tables(results: ComparisonResults, out: Path) -> None:
    """``table.txt``, ``table.md`` and ``table.csv`` into ``out``."""
    write_text(out / "table.txt", as_text(results))
    write_text(out / "table.md", as_markdown(results))
    write_text(out / "table.csv", as_csv(results))


def as_text(results: ComparisonResults) -> str:
    """The tables of a comparison as plain text with aligned columns."""
    blocks = [f"{title}\n\n{_aligned(rows)}" for title, rows in _parts(results)]
    return "\n\n".join([*blocks, *_notes(results)]) + "\n"


def as_markdown(results: ComparisonResults) -> str:
    """The tables of a comparison as Markdown."""
    blocks = []
    for title, (head, *body) in _parts(results):
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *body)]
        blocks.append(f"{title}\n\n" + "\n".join(lines))
    return "\n\n".join([*blocks, *_notes(results)]) + "\n"


def as_csv(results: ComparisonResults) -> str:
    """One line a method and measure: ``method,measure,mean,low,high`` with accuracies in [0, 1]."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "measure", "mean", "low", "high"])
    for name, method in results.methods.items():
        # Shares and not points, with all digits: the CSV is for programs.
        means = dict(method.scores)
        means |= {f"sgpo_minus_{measure}": gap for measure, gap in method.sgpo_minus.items()}
        for reference, gaps in method.axes_minus.items():
            means |= {f"{reference}_minus_axis_{axis}": gap for axis, gap in gaps.items()}
        for measure, value in means.items():
            writer.writerow([name, measure, *value.to_json()])
        for axis, one in method.axes.items():
            writer.writerow([name, f"axis_{axis}", *(one.interval or SeedMean(one.accuracy)).to_json()])
            for measure in ("greedy", "temperature_1", "pass_at_32", "guided", "length"):
                writer.writerow([name, f"axis_{axis}_{measure}", getattr(one, measure), "", ""])
        for family, scores in method.per_family.items():
            writer.writerow([name, f"family_{family}", scores.accuracy, "", ""])
            if scores.pass_at_32 is not None:
                writer.writerow([name, f"family_{family}_pass_at_32", scores.pass_at_32, "", ""])
        for measure in ("learning_rate", "sampled_tokens", "trained_tokens", "train_seconds", "search_seconds"):
            writer.writerow([name, measure, getattr(method, measure), "", ""])
    return text.getvalue()


def _parts(results: ComparisonResults) -> list[tuple[str, Rows]]:
    methods = results.methods
    seeds = max((len(method.seeds) for method in methods.values()), default=0)
    labels = {name: _label(name) + _fewer(method, seeds) for name, method in methods.items()}
    scores = {labels[name]: method.scores for name, method in methods.items()}
    title = f"mean [95% interval over {seeds} seeds]"
    if seeds == 1:  # shows no spread between seeds, so that its interval is the one over problems
        ends = {name: SeedMean(m.accuracy, *(m.accuracy_ci95 or ())) for name, m in methods.items()}
        scores = {labels[name]: {**m.scores, "end": ends[name]} for name, m in methods.items()}
        title = "one seed [95% interval over problems]"
    parts = [(f"{_measured(results)}: {title}", _grid("method", scores, SCORE_NAMES))]
    if gaps := {_label(name): method.sgpo_minus for name, method in methods.items() if method.sgpo_minus}:
        parts.append(("SGPO minus the method, points, paired by seed", _grid("method", gaps, SCORE_NAMES, "+")))
    if any(method.axes for method in methods.values()):
        # Results of a single cell have no interval on an axis.
        on_axes = {
            labels[name]: {axis: one.interval or SeedMean(one.accuracy) for axis, one in method.axes.items()}
            for name, method in methods.items()
        }
        parts.append(("By axis, %", _grid("method", on_axes, _names(on_axes))))
        for other in dict.fromkeys(name for method in methods.values() for name in method.axes_minus):
            minus = {_label(name): m.axes_minus[other] for name, m in methods.items() if other in m.axes_minus}
            title = f"{_label(other)} minus the method on each axis, points, paired by seed"
            parts.append((title, _grid("method", minus, _names(minus), "+")))
    else:  # a lab with axes has a hundred types, which the CSV holds
        families: dict[str, dict[str, SeedMean]] = {}
        for name, method in methods.items():
            for family, one in method.per_family.items():
                families.setdefault(family, {})[name] = SeedMean(one.accuracy)
        parts.append(("By family, %", _grid("family", families, labels)))
    parts.append(("Cost of a run, mean over seeds", _costs(methods)))
    return parts


def _fewer(method: MethodResult, seeds: int) -> str:
    """How many seeds a method has where another has more: its mean is then one over other runs."""
    own = len(method.seeds)
    return f" ({own} of {seeds} seeds)" if own < seeds else ""


def _measured(results: ComparisonResults) -> str:
    benchmarks = results.settings.get("benchmarks")  # of a recipe
    if benchmarks is None:
        return "Held-out accuracy without a strategy, %, temperature 0.6, top-p 0.95"
    each = (f"{one['name']} (k={one['k']}, temperature {one['temperature']:g})" for one in benchmarks)
    return f"Accuracy without a strategy, %, {', '.join(each)}"


def _label(name: str) -> str:
    return find_method(name).label


def _grid(head: str, values: Mapping[str, Mapping[str, SeedMean]], titles: Mapping[str, str], sign: str = "") -> Rows:
    """A row for each of ``values``, a column for each of ``titles`` that any of them has."""
    # A column that nothing was measured for is left out: older runs have fewer scores.
    columns = [c for c in titles if any(c in entry for entry in values.values())]
    rows = [[head, *(titles[c] for c in columns)]]
    for name, entry in values.items():
        rows.append([name, *(_percent(entry[c], sign) if c in entry else "-" for c in columns)])
    return rows


def _names(axes: Mapping[str, Mapping[str, SeedMean]]) -> dict[str, str]:
    return {axis: axis_name(axis) for entry in axes.values() for axis in entry}


def _costs(methods: Methods) -> Rows:
    head = ["method", "learning rate", "tokens sampled", "of them guided", "tokens trained on", "seconds"]
    rows = [[*head, "of the search"]]
    for name, method in methods.items():
        rate = "-" if method.learning_rate is None else f"{method.learning_rate:g}"
        rate += "".join(f", {field} {value:g}" for field, value in (method.balance or {}).items())
        counts = (method.sampled_tokens, method.guided_tokens, method.trained_tokens)
        tokens = (f"{in_thousands(count)}K" if count else "0" for count in counts)
        searched = "-" if method.search_seconds is None else f"{method.search_seconds:.0f}"
        rows.append([_label(name), rate, *tokens, f"{method.train_seconds or 0:.0f}", searched])
    return rows


def _notes(results: ComparisonResults) -> list[str]:
    never = f"Never solved by the base: {', '.join(results.never_solved)}. " if results.never_solved else ""
    notes = [f"{never}Machine: {results.machine}."]
    for method in results.methods.values():
        if control := method.strategy_control:
            notes.append(
                f"A target token's KL under its own strategy: {control.own_kl:.3f} nats, under another problem's: "
                f"{control.other_kl:.3f}; {100 * control.copied:.0f}% of target tokens stand in the strategy "
                f"(base, {control.problems:.0f} training problems)."
            )
    notes += [f"Runs of several versions are compared: {line}." for line in results.versions]
    notes += [f"FAILED {cell}: {error}" for cell, error in results.failed.items()]
    return notes


def _percent(value: SeedMean, sign: str = "") -> str:
    shown = f"{100 * value.mean:{sign}.1f}"
    return shown if value.ends is None else f"{shown} [{', '.join(f'{100 * end:{sign}.1f}' for end in value.ends)}]"


def _aligned(rows: Rows) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
