"""The plots of a report as PNG and SVG files, for papers and slides."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # no window; a notebook has set its own
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgpo.report.axes_view import axis_seeds, measured, on_axis, shown_axes, title_of
from sgpo.report.comparison import families, ranking
from sgpo.report.curves_view import PANELS, on_one_axis
from sgpo.report.run import Run
from sgpo.report.series import PASS_RATE, bands
from sgpo.report.tables import Heat
from sgpo.report.text import harmless
from sgpo.runs.entries import MethodResult
from sgpo.runs.methods import spoken_label
from sgpo.runs.scores import SeedMean

ACCENT = "#d1410c"
COLOURS = (ACCENT, "#3567a8", "#2f8a83", "#7a63a8", "#6f7b2c", "#a8578c", "#6b7480")
LINES = ("-", "--", ":", "-.")
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "axes.titlesize": 10,
    "text.parse_math": False,  # a $ in a name is a $
    # The same plot is the same file, so that a repository of figures has no changes that are none.
    "svg.hashsalt": "sgpo",
}


def write_plots(run: Run, folder: Path) -> list[Path]:
    """Draw what the run has data for (curves, comparison, axes, families), as .png and .svg; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(STYLE):
        for name, draw in _DRAWN.items():
            figure = draw(run)
            if figure is None:
                continue
            for suffix in ("png", "svg"):
                figure.savefig(
                    folder / f"{name}.{suffix}", dpi=160, metadata={"Date": None} if suffix == "svg" else None
                )
                written.append(folder / f"{name}.{suffix}")
            plt.close(figure)
    return written


def figure_of(run: Run, name: str) -> Figure:
    """One of these plots. Raises ``ValueError`` for a name that is none, or one that the run has no data for."""
    if name not in _DRAWN:
        raise ValueError(f"plot {name!r} is unknown; choose from {', '.join(_DRAWN)}.")
    with plt.rc_context(STYLE):
        figure = _DRAWN[name](run)
    if figure is None:
        raise ValueError(f"{run.path} has nothing to plot as {name!r}; choose another of {', '.join(_DRAWN)}.")
    plt.close(figure)  # whoever gets it shows it; a notebook would show it twice
    return figure


def _colour(run: Run, method: str) -> str:
    hue = run.hues[method]
    return COLOURS[hue if hue < 1 else 1 + (hue - 1) % (len(COLOURS) - 1)]


def _dashes(run: Run, method: str) -> str:
    """Another kind of line each time that the colours begin anew."""
    return LINES[max(0, run.hues[method] - 1) // (len(COLOURS) - 1) % len(LINES)]


def _curves(run: Run) -> Figure | None:
    found = {panel: curves for panel in PANELS if (curves := bands(run, panel.metric))}
    if not found:
        return None
    found, across = on_one_axis(found)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.9 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(found) :]:
        axis.remove()
    for axis, (panel, curves) in zip(axes.flat, found.items(), strict=False):
        for band in reversed(curves):
            colour, factor = _colour(run, band.method), 100 if panel.unit == "%" else 1
            mean, low, high = ([factor * v for v in values] for values in (band.mean, band.low, band.high))
            axis.fill_between(band.steps, low, high, color=colour, alpha=0.15, linewidth=0)
            name, dashes = harmless(spoken_label(band.method)), _dashes(run, band.method)
            dot = "o" if len(mean) == 1 else None  # a line of one point draws nothing
            axis.plot(band.steps, mean, color=colour, label=name, linestyle=dashes, linewidth=1.4, marker=dot)
        stands_in = panel.metric == PASS_RATE and any(cell.pass_rate_from for cell in run.cells)
        percent = ", %" if panel.unit == "%" else ""
        axis.set_title(f"{panel.title}{percent}{' (or mean reward)' if stands_in else ''}", loc="left")
        # From 0 as on the page: a curve that hardly moves must not look as if it did.
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    # Of all panels: SFT, for one, logs no pass rate, and would have a curve without a name in the others.
    drawn = {name: line for axis in figure.axes for line, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    names = {harmless(spoken_label(method)): None for method in run.order}  # two may have one label
    shown = {name: drawn[name] for name in names if name in drawn}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(4, len(shown)), frameon=False)
    figure.supxlabel(across.name, fontsize=9)
    return figure


def _comparison(run: Run) -> Figure | None:
    methods = ranking(run)
    if not methods:
        return None
    figure, axis = plt.subplots(figsize=(6.4, 0.9 + 0.42 * len(methods)), layout="constrained")
    _dots(run, axis, [(m, SeedMean(m.accuracy, *(m.interval or ())), m.over_seeds) for m in methods])
    axis.set_xlabel("held-out accuracy without a strategy, %; lines are 95% intervals", loc="right")
    return figure


def _axes(run: Run) -> Figure | None:
    """A panel an axis: methods in one order and colour, so that each can be followed from the trained axis on."""
    methods, names = measured(run)
    if not names:
        return None
    panels = shown_axes(names)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (1.6 + 2.8 * columns, rows * (0.9 + 0.26 * len(methods)))
    figure, grid = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained")
    for axis, name in itertools.zip_longest(grid.flat, panels):
        if name is None:
            axis.set_visible(False)
            continue
        _dots(run, axis, [(method, on_axis(method, name), axis_seeds(method, name)) for method in methods])
        axis.set_title(harmless(title_of(name)), loc="left")
        axis.set_xlim(-2, 102)  # room for a whole dot at both ends
    figure.supxlabel("accuracy without a strategy, %; lines are 95% intervals over training seeds", fontsize=9)
    return figure


def _dots(run: Run, axis: Axes, rows: Sequence[tuple[MethodResult, SeedMean | None, Sequence[float]]]) -> None:
    """A dot plot: of each method a mean, its interval, and a faint dot for each seed where there are several."""
    for i, (method, found, seeds) in enumerate(rows):
        colour = _colour(run, method.name)
        if found is None:
            continue
        if found.ends is not None:
            axis.plot([100 * end for end in found.ends], [i, i], color=colour, linewidth=1.8)
        if len(seeds) > 1:
            axis.plot([100 * value for value in seeds], [i] * len(seeds), ".", color=colour, alpha=0.4)
        axis.plot(100 * found.mean, i, "o", color=colour)
    axis.set_yticks(range(len(rows)), [harmless(method.label) for method, *_ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)  # the best method at the top, as on the page
    axis.grid(axis="y", visible=False)


def _families(run: Run) -> Figure | None:
    view = families(run)
    if view is None:
        return None
    (_, *columns), rows = view.table.titles, view.table.rows
    figure, axis = plt.subplots(figsize=(1.8 + 0.95 * len(columns), 1.2 + 0.34 * len(rows)), layout="constrained")
    texts = [[cell.text if isinstance(cell, Heat) else "" for cell in row.cells] for row in rows]
    values = [[float(text or "nan") for text in row] for row in texts]
    axis.imshow(values, cmap="Oranges", vmin=0, vmax=130, aspect="auto")  # beyond 100, to keep the text readable
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            axis.text(j, i, "" if value != value else f"{value:.0f}", ha="center", va="center", fontsize=8)
    axis.set_xticks(range(len(columns)), [harmless(label) for label in columns], rotation=30, ha="right")
    axis.set_yticks(range(len(rows)), [harmless(row.name) for row in rows])
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


_DRAWN = {"curves": _curves, "comparison": _comparison, "axes": _axes, "families": _families}
