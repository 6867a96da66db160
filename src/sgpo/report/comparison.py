"""The comparison of methods for the templates: rows with their strips, differences, costs, and the heat table.

Nothing is computed here that the results hold: differences, intervals and means are those of
:mod:`sgpo.compare.results`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from sgpo.compare.results import SCORE_NAMES
from sgpo.report import svg
from sgpo.report.run import Run, end_gap
from sgpo.report.tables import PageTable, TableRow, heat
from sgpo.runs.entries import MethodResult
from sgpo.runs.scores import SeedMean
from sgpo.runs.words import in_thousands

MAX_FAMILIES = 40
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "learning_rate": ("Learning rate", lambda value: f"{value:g}"),
    "sampled_tokens": ("K tokens sampled", in_thousands),
    "guided_tokens": ("of them guided", in_thousands),
    "trained_tokens": ("K tokens trained on", in_thousands),
    "train_seconds": ("Seconds", lambda value: f"{value:.0f}"),
}


@dataclass(frozen=True)
class ComparisonRow:
    """A method: its accuracy and its difference to SGPO as strips, and its costs as texts."""

    method: MethodResult
    strip: Markup
    gap_strip: Markup | None
    costs: Sequence[str]


@dataclass(frozen=True)
class ComparisonView:
    """The section on who ends where; ``costs`` are the titles of the columns, ``counts`` a sentence."""

    rows: Sequence[ComparisonRow]
    costs: Sequence[str]
    axis: Markup
    gap_axis: Markup
    gaps: PageTable | None
    shape: MethodResult | None
    counts: str
    base_guided: float | None


def comparison(run: Run) -> ComparisonView | None:
    """Rows by falling accuracy, their differences to SGPO, and the two axes; None without a method."""
    if not run.methods:
        return None
    methods, sgpo, hues = ranking(run), run.method("sgpo"), run.hues
    others = [method for method in methods if method.ranked and method is not sgpo] if sgpo else []
    ends = {method.name: end_gap(sgpo, method) for method in others if sgpo}
    reach = [end for m in methods for end in (m.accuracy, *(m.interval or ()), *m.over_seeds)]
    # From 0, so that lengths can be compared; a little room beyond the last dot.
    scale = (0.0, min(1.0, max(reach) * 1.04))
    gap_reach = [0.0, *(end for gap in ends.values() for end in (gap.mean, *(gap.ends or ())))]
    # An interval over two seeds can be wider than everything there is to see.
    gap_scale = (max(-1.0, min(gap_reach) - 0.02), min(1.0, max(gap_reach) + 0.02))
    # A cost that no method has, such as tokens of a model that was not trained, is no column.
    costs = [key for key in COSTS if any(getattr(method, key) for method in methods)]
    rows = []
    for method in methods:
        hue, gap, dots = hues[method.name], ends.get(method.name), method.over_seeds
        shown = dots if len(dots) > 1 else ()
        strip = svg.strip(method.accuracy, scale, ends=method.interval, dots=shown, hue=hue)
        gap_strip = svg.strip(gap.mean, gap_scale, ends=gap.ends, hue=hue) if gap else None
        texts = [COSTS[key][1](value) if (value := getattr(method, key)) else "" for key in costs]
        rows.append(ComparisonRow(method, strip, gap_strip, texts))
    return ComparisonView(
        rows=rows,
        costs=[COSTS[key][0] for key in costs],
        axis=svg.axis(scale),
        gap_axis=svg.axis(gap_scale),
        gaps=_gap_table(others, ends),
        shape=next((method for method in methods if method.n_problems), None),
        counts=_counts(list(ends.values())),
        base_guided=_base_guided(run),
    )


def ranking(run: Run) -> list[MethodResult]:
    """The methods in the order of every plot: by falling accuracy, those that read the strategy at the end."""
    return sorted(run.methods, key=lambda method: (not method.ranked, -method.accuracy))


def _gap_table(others: Sequence[MethodResult], ends: Mapping[str, SeedMean]) -> PageTable | None:
    """Methods in rows, measures in columns."""
    gaps = {method.name: {"end": ends[method.name], **method.sgpo_minus} for method in others}
    measures = sorted(
        {measure for found in gaps.values() for measure in found},
        key=lambda name: ([*SCORE_NAMES, name].index(name), name),
    )
    if not measures:
        return None
    rows = [
        TableRow(one.label, [gaps[one.name].get(m) for m in measures], "" if "end" in one.sgpo_minus else "not paired")
        for one in others
    ]
    return PageTable(["Method", *(SCORE_NAMES.get(name, name.replace("_", " ")) for name in measures)], rows)


def _counts(gaps: list[SeedMean]) -> str:
    """How often SGPO is above, level or below, by intervals that leave out 0."""
    verdicts = [gap.verdict for gap in gaps if gap.verdict != "unknown"]
    if len(verdicts) < 2:
        return ""
    words = {"above": "above", "level": "not told apart from", "below": "below"}
    counts = Counter(verdicts)
    parts = [f"{word} {count}" for verdict, word in words.items() if (count := counts[verdict])]  # type: ignore[index]
    return f"By intervals that leave out 0, SGPO is {', '.join(parts)} of {len(verdicts)} methods."


def _base_guided(run: Run) -> float | None:
    """What the base reaches with the strategy in its prompt, where its cells say so."""
    base = run.method("base")
    values = [seed.accuracy_guided for seed in base.seeds if seed.accuracy_guided is not None] if base else []
    return fmean(values) if values else None


@dataclass(frozen=True)
class FamiliesView:
    """The heat table of families in rows and methods in columns; ``never`` are those that the base never solves."""

    table: PageTable
    never: Sequence[str]


def families(run: Run) -> FamiliesView | None:
    """The heat table: families in rows, those that the base never solves first; None without families, and for many of
    them where there are axes."""
    # From the weakest to the strongest, so that colours darken to the right.
    methods = sorted((m for m in run.methods if m.per_family), key=lambda m: (m.ranked, m.accuracy))
    names = list(dict.fromkeys(family for method in methods for family in method.per_family))
    if not names or (len(names) > MAX_FAMILIES and any(method.axes for method in methods)):
        return None  # the axes say it better than a hundred types of a few problems each
    base = run.method("base")

    def accuracy(method: MethodResult | None, family: str) -> float | None:
        scores = method.per_family.get(family) if method else None
        return scores.accuracy if scores else None

    def by_base(family: str) -> tuple[bool, float]:
        start = accuracy(base, family)
        return family not in run.never_solved, 1.0 if start is None else start

    names.sort(key=by_base)
    never = [family for family in names if family in run.never_solved]
    rows = [
        TableRow(name, [heat(accuracy(method, name)) for method in methods], "never solved" if name in never else "")
        for name in names
    ]
    parts = {
        "never_solved": f"the {len(never)} never solved by the base",
        "without_never_solved": f"the other {len(names) - len(never)}",
    }
    for score, title in parts.items():
        means = [method.scores.get(score) for method in methods]
        if any(means):
            rows.append(
                TableRow(title, [heat(one.mean if one else None) for one in means], apart=score == "never_solved")
            )
    return FamiliesView(PageTable(["Family", *(method.label for method in methods)], rows), never)
