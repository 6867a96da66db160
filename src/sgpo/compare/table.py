"""The results of a comparison as text, Markdown and CSV."""

import csv
import io
from pathlib import Path
from typing import Any

from sgpo.runs.files import write_text
from sgpo.trainer.methods import find_method

COLUMNS = {
    "end": "at the end",
    "greedy": "greedy",
    "temperature_1": "temperature 1",
    "pass_at_32": "pass@32",
    "guided": "with the strategy",
    "new_axes": "new axes",
    "over_training": "over training",
    "without_never_solved": "without never-solved",
    "never_solved": "never-solved",
}
Rows = list[list[str]]


def write_tables(results: dict[str, Any], out: Path) -> None:
    """``table.txt``, ``table.md`` and ``table.csv`` into ``out``."""
    write_text(out / "table.txt", as_text(results))
    write_text(out / "table.md", as_markdown(results))
    write_text(out / "table.csv", as_csv(results))


def as_text(results: dict[str, Any]) -> str:
    """The tables of a comparison as plain text with aligned columns."""
    blocks = [f"{title}\n\n{_aligned(rows)}" for title, rows in _parts(results)]
    return "\n\n".join([*blocks, *_notes(results)]) + "\n"


def as_markdown(results: dict[str, Any]) -> str:
    """The tables of a comparison as Markdown."""
    blocks = []
    for title, (head, *body) in _parts(results):
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *body)]
        blocks.append(f"{title}\n\n" + "\n".join(lines))
    return "\n\n".join([*blocks, *_notes(results)]) + "\n"


def as_csv(results: dict[str, Any]) -> str:
    """One line a method and measure: ``method,measure,mean,low,high`` with accuracies in [0, 1]."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "measure", "mean", "low", "high"])
    for name, entry in results["methods"].items():
        for measure, values in entry["scores"].items():
            writer.writerow([name, measure, *values])
        for measure, values in entry.get("sgpo_minus", {}).items():
            writer.writerow([name, f"sgpo_minus_{measure}", *values])
        for reference, gaps in entry.get("axes_minus", {}).items():
            for axis, values in gaps.items():
                writer.writerow([name, f"{reference}_minus_axis_{axis}", *values])
        for axis, one in entry.get("axes", {}).items():
            writer.writerow([name, f"axis_{axis}", *one["interval"]])
            for measure in ("greedy", "temperature_1", "pass_at_32", "guided", "length"):
                writer.writerow([name, f"axis_{axis}_{measure}", one.get(measure, ""), "", ""])
        for family, one in entry["per_family"].items():
            writer.writerow([name, f"family_{family}", one["accuracy"], "", ""])
        for measure in ("learning_rate", "sampled_tokens", "trained_tokens", "train_seconds", "search_seconds"):
            writer.writerow([name, measure, entry.get(measure, ""), "", ""])
    return text.getvalue()


def _parts(results: dict[str, Any]) -> list[tuple[str, Rows]]:
    methods = results["methods"]
    seeds = max((len(entry["seeds"]) for entry in methods.values()), default=0)
    parts = [
        (
            f"{_measured(results)}: mean [95% interval over {seeds} seeds]",
            _scores(methods),
        )
    ]
    if any("sgpo_minus" in entry for entry in methods.values()):
        parts.append(("SGPO minus the method, points, paired by seed", _differences(methods)))
    if any("axes" in entry for entry in methods.values()):
        parts.append(("By axis, %", _axes(methods)))
        parts += [
            (f"{_label(name)} minus the method on each axis, points, paired by seed", rows)
            for name, rows in _axis_differences(methods).items()
        ]
    else:  # a lab with axes has a hundred types, which the CSV holds
        parts.append(("By family, %", _families(methods)))
    parts.append(("Cost of a run, mean over seeds", _costs(methods)))
    return parts


def _measured(results: dict[str, Any]) -> str:
    benchmarks = results.get("settings", {}).get("benchmarks")  # of a recipe
    if benchmarks is None:
        return "Held-out accuracy without a strategy, %, temperature 0.6, top-p 0.95"
    each = (f"{one['name']} (k={one['k']}, temperature {one['temperature']:g})" for one in benchmarks)
    return f"Accuracy without a strategy, %, {', '.join(each)}"


def _label(name: str) -> str:
    return find_method(name).label


def _scores(methods: dict[str, Any]) -> Rows:
    return _columns({name: entry["scores"] for name, entry in methods.items()})


def _differences(methods: dict[str, Any]) -> Rows:
    return _columns({name: e["sgpo_minus"] for name, e in methods.items() if e.get("sgpo_minus")}, "+")


def _columns(values: dict[str, Any], sign: str = "") -> Rows:
    """A row a method, a column for each score that any method has."""
    columns = [c for c in COLUMNS if any(c in entry for entry in values.values())]
    rows = [["method", *(COLUMNS[c] for c in columns)]]
    for name, entry in values.items():
        rows.append([_label(name), *(_percent(entry[c], sign) if c in entry else "-" for c in columns)])
    return rows


def _axes(methods: dict[str, Any]) -> Rows:
    axes = list(dict.fromkeys(axis for entry in methods.values() for axis in entry.get("axes", {})))
    rows = [["method", *axes]]
    for name, entry in methods.items():
        found = entry.get("axes", {})
        rows.append([_label(name), *(_percent(found[a]["interval"]) if a in found else "-" for a in axes)])
    return rows


def _axis_differences(methods: dict[str, Any]) -> dict[str, Rows]:
    """A table for each method that the others are compared with on the axes."""
    tables: dict[str, Rows] = {}
    for name, entry in methods.items():
        for reference, gaps in entry.get("axes_minus", {}).items():
            table = tables.setdefault(reference, [["method", *(axis.replace("_", " ") for axis in gaps)]])
            table.append([_label(name), *(_percent(values, "+") for values in gaps.values())])
    return tables


def _families(methods: dict[str, Any]) -> Rows:
    families = list(next(iter(methods.values()))["per_family"]) if methods else []
    rows = [["family", *map(_label, methods)]]
    for family in families:
        rows.append([family, *(f"{100 * e['per_family'][family]['accuracy']:.1f}" for e in methods.values())])
    return rows


def _costs(methods: dict[str, Any]) -> Rows:
    head = ["method", "learning rate", "tokens sampled", "of them guided", "tokens trained on", "seconds"]
    rows = [[*head, "of the search"]]
    for name, e in methods.items():
        rate = f"{e['learning_rate']:g}" if "learning_rate" in e else "-"
        rate += "".join(f", {field} {value:g}" for field, value in e.get("balance", {}).items())
        tokens = (f"{e[key] / 1000:.0f}K" for key in ("sampled_tokens", "guided_tokens", "trained_tokens"))
        searched = f"{e['search_seconds']:.0f}" if "search_seconds" in e else "-"
        rows.append([_label(name), rate, *tokens, f"{e['train_seconds']:.0f}", searched])
    return rows


def _notes(results: dict[str, Any]) -> list[str]:
    never = f"Never solved by the base: {', '.join(results['never_solved'])}. " if results["never_solved"] else ""
    notes = [f"{never}Machine: {results['machine']}."]
    for entry in results["methods"].values():
        if control := entry.get("strategy_control"):
            notes.append(
                f"A target token's KL under its own strategy: {control['own_kl']:.3f} nats, under another problem's: "
                f"{control['other_kl']:.3f}; {100 * control['copied']:.0f}% of target tokens stand in the strategy "
                f"(base, {control['problems']:.0f} training problems)."
            )
    notes += [f"FAILED {cell}: {error}" for cell, error in results["failed"].items()]
    return notes


def _percent(values: list[float | None], sign: str = "") -> str:
    mean, low, high = values
    if low is None or high is None:
        return f"{100 * (mean or 0):{sign}.1f}"
    return f"{100 * (mean or 0):{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def _aligned(rows: Rows) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
