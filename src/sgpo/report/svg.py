"""Plots as inline SVG: crisp at any size, coloured by the page's CSS variables, readable without JavaScript.

Two kinds. Charts (``line_chart``, ``share_chart``, ``heat_chart``) have a view box and scale as a whole; they are
drawn small, about as large as they appear, so that their text keeps its size. Strips (``strip``, ``axis``, ``bars``)
are as wide as their container: positions are percentages, and only those stretch.

Colours are classes: ``m0``, ``m1``, ... for the methods in the order of the legend.
"""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from sgpo.report.series import Band
from sgpo.report.text import harmless

WIDTH, HEIGHT = 340, 196
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 8, 22
HUES = 12  # method colours in the style sheet

Scale = tuple[float, float]  # the values at the two ends of an axis


def hue_class(hue: int) -> int:
    """The class of a method's colour: they begin anew behind the accent, which is SGPO's, and the last one is grey."""
    return hue % HUES if hue < 1 else 1 + (hue - 1) % (HUES - 1)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round values between ``low`` and ``high``."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    # Round steps alone, as one would draw them by hand.
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999) * magnitude
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def scale_for(values: Sequence[float], *, share: bool = False) -> Scale:
    """An axis from 0 (or the lowest value, if that is negative) to a little above the highest; shares stop at 1."""
    low, high = min([0.0, *values]), max([0.0, *values])
    high = high * 1.06 or 1.0
    return low, min(1.0, high) if share and max(values, default=0) <= 1 else high


def value_text(value: float, unit: str) -> str:
    """A value for an axis or a readout: ``%`` for shares, else three significant digits."""
    return f"{100 * value:.3g}%" if unit == "%" else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def line_chart(
    bands: Sequence[Band],
    hues: dict[str, int],
    *,
    unit: str,
    label: str,
    y: Scale | None = None,
    across: Callable[[float], str] = "{:g}".format,
    at: str = "step {}",
) -> Markup:
    """Curves with their bands over optimizer steps, or over what ``across`` calls them; the first is drawn on top.

    ``at`` says where on the x-axis a value was read, with ``{}`` for the place.
    """
    y = y or scale_for([v for band in bands for v in band.high], share=unit == "%")
    x = (min(b.steps[0] for b in bands), max(b.steps[-1] for b in bands))
    # The first curve is that of SGPO; drawn last, it lies on top.
    parts = [_frame(x, y, unit, across)]
    for band in reversed(bands):
        xs, drawn = [_across(step, x) for step in band.steps], []
        if band.seeds > 1:
            drawn.append(_area(xs, band.high, band.low, y, "band"))
        if len(xs) == 1:  # a line of one point draws nothing: a run that has logged a single step
            drawn.append(_tag("circle", "only", cx=xs[0], cy=_up(band.mean[0], y), r=3))
        # The values for the script that shows them under the cursor; without it the chart is whole.
        data = ";".join(f"{step:.0f},{value:.4g}" for step, value in zip(band.steps, band.mean, strict=True))
        drawn.append(_tag("path", "line", d=_path(xs, [_up(v, y) for v in band.mean]), data_s=data))
        parts.append(_tag("g", f"m m{hue_class(hues[band.method])}", drawn))
    return _chart(parts, label, x, unit, at)


def share_chart(steps: Sequence[float], layers: Sequence[Sequence[float]], *, label: str) -> Markup:
    """Shares that add up to at most 1, stacked from below: layer i has the class ``s<i>``."""
    x, y = (steps[0], steps[-1]), (0.0, 1.0)
    xs = [_across(step, x) for step in steps]
    floor = [0.0] * len(steps)
    parts = [_frame(x, y, "%")]
    for i, layer in enumerate(layers):
        top = [a + b for a, b in zip(floor, layer, strict=True)]
        parts.append(_area(xs, top, floor, y, f"layer s{i}"))
        floor = top
    return _chart(parts, label, x, "")


def heat_chart(steps: Sequence[float], columns: Sequence[Sequence[float]], *, top: float, label: str) -> Markup:
    """A histogram over time: column i holds the shares of the bins from 0 (at the bottom) to ``top``."""
    x, y = (steps[0], steps[-1]), (0.0, top)
    bins = len(columns[0])
    wide, tall = (WIDTH - LEFT - RIGHT) / len(columns), (HEIGHT - TOP - BOTTOM) / bins
    cells = [
        _tag(
            "rect",
            "cell",
            x=LEFT + i * wide,
            y=HEIGHT - BOTTOM - (j + 1) * tall,
            width=wide,
            height=tall,
            fill_opacity=min(1.0, share) ** 0.6,
        )  # few problems must still be seen, hence the root
        for i, column in enumerate(columns)
        for j, share in enumerate(column)
        if share > 0
    ]
    return _chart([_tag("g", "", cells, shape_rendering="crispEdges"), _frame(x, y, "")], label, x, "")


def strip(
    value: float, scale: Scale, *, ends: tuple[float, float] | None = None, dots: Sequence[float] = (), hue: int = 1
) -> Markup:
    """One row of a dot plot: the value, its interval, and a faint dot for each seed; a line at 0 if 0 is inside."""
    parts = []
    if scale[0] < 0 < scale[1]:
        parts.append(_tag("line", "zero", x1=_percent(0, scale), x2=_percent(0, scale), y1=0, y2="100%"))
    parts += [_tag("circle", "seed", cx=_percent(dot, scale), cy="50%", r=2.5) for dot in dots]
    if ends is not None:
        low, high = (_percent(end, scale) for end in ends)
        parts.append(_tag("line", "span", x1=low, x2=high, y1="50%", y2="50%"))
    parts.append(_tag("circle", "dot", cx=_percent(value, scale), cy="50%", r=5))
    return _tag("svg", f"strip m{hue_class(hue)}", parts, aria_hidden="true")


def axis(scale: Scale, *, count: int = 5) -> Markup:
    """About ``count`` labels under a column of strips, in percent."""
    parts = [
        _label(f"{100 * tick:g}".replace("-", "\u2212"), _percent(tick, scale), 12, _anchor(tick, scale))
        for tick in ticks(*scale, count=count)
    ]
    return _tag("svg", "strip axis", parts, aria_hidden="true")


def bars(values: Sequence[float], levels: Sequence[int], *, top: float, line: float, tall: int = 44) -> Markup:
    """A bar per token, as high as its value and coloured by its level; a ``line`` below ``top`` is drawn across."""
    top = max(top, 1e-9)
    wide = 100 / max(1, len(values))
    parts = []
    for i, (value, level) in enumerate(zip(values, levels, strict=True)):
        high = max(1.0, (tall - 2) * value / top)
        x, width = f"{_n(i * wide)}%", f"{_n(wide * 0.82)}%"
        parts.append(_tag("rect", f"k{level}", x=x, y=tall - high, width=width, height=high))
    if line < top:
        up = tall - (tall - 2) * line / top
        parts.append(_tag("line", "limit", x1=0, x2="100%", y1=up, y2=up))
    return _tag("svg", "bars", parts, aria_hidden="true")


def _tag(name: str, css: str = "", body: Sequence[Markup] = (), **attributes: str | float) -> Markup:
    """An element; numbers are coordinates, and an underscore in an attribute's name is a hyphen."""
    given = {"class": css, **attributes} if css else attributes
    pairs = [
        Markup(' {}="{}"').format(key.replace("_", "-"), each if isinstance(each, str) else _n(each))
        for key, each in given.items()
    ]
    opened = Markup("<{}{}").format(Markup(name), Markup("").join(pairs))
    return opened + (Markup(">{}</{}>").format(Markup("").join(body), name) if body else Markup("/>"))


def _label(text: str, x: str | float, y: float, anchor: str) -> Markup:
    return _tag("text", "", [escape(text)], x=x, y=y, text_anchor=anchor)


def _area(xs: Sequence[float], high: Sequence[float], low: Sequence[float], y: Scale, css: str) -> Markup:
    """What lies between two curves."""
    # Along the upper curve and back along the lower one; the second path begins with a line and not with a move.
    outline, back = _path(xs, [_up(v, y) for v in high]), _path(xs[::-1], [_up(v, y) for v in low[::-1]])
    return _tag("path", css, d=f"{outline}L{back[1:]}Z")


def _chart(parts: Sequence[Markup], label: str, x: Scale, unit: str, at: str = "step {}") -> Markup:
    cursor = Markup('<line class="cursor" visibility="hidden" y1="{}" y2="{}"/>').format(TOP, HEIGHT - BOTTOM)
    drawn = Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}" data-x="{},{}" data-box="{},{}" '
        'data-unit="{}" data-at="{}">{}</svg>'
    )
    body = Markup("").join([*parts, cursor])
    return drawn.format(harmless(label), WIDTH, HEIGHT, *map(_n, x), LEFT, WIDTH - RIGHT, unit, at, body)


def _frame(x: Scale, y: Scale, unit: str, across: Callable[[float], str] = "{:g}".format) -> Markup:
    """Grid lines and the labels of both axes."""
    parts = []
    for tick in ticks(*y):
        at = _up(tick, y)
        parts.append(_tag("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        parts.append(_label(value_text(tick, unit), LEFT - 6, at + 3.5, "end"))
    parts += [_label(across(tick), _across(tick, x), HEIGHT - 6, _anchor(tick, x)) for tick in ticks(*x, count=5)]
    return Markup("").join(parts)


def _anchor(tick: float, scale: Scale) -> str:
    """Labels at the two ends of an axis are kept from running out of it."""
    share = _share(tick, scale)
    return "start" if share < 0.02 else "end" if share > 0.98 else "middle"


def _share(value: float, scale: Scale) -> float:
    return (value - scale[0]) / (scale[1] - scale[0]) if scale[1] > scale[0] else 0.0


def _percent(value: float, scale: Scale) -> str:
    return f"{_n(100 * min(1.0, max(0.0, _share(value, scale))))}%"


def _across(value: float, x: Scale) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * _share(value, x)


def _up(value: float, y: Scale) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, _share(value, y)))


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in zip(xs, ys, strict=True))


def _n(value: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
