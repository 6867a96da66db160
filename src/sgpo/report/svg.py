"""Plots as inline SVG: crisp at any size, coloured by the page's CSS variables, readable without JavaScript.

Two kinds. Charts (``line_chart``, ``share_chart``, ``heat_chart``) have a view box and scale as a whole; they are
drawn small, about as large as they appear, so that their text keeps its size. Strips (``strip``, ``axis``, ``bars``)
are as wide as their container: positions are percentages, and only those stretch.

Colours are classes: ``m0``, ``m1``, ... for the methods in the order of the legend.
"""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from sgpo.report.series import Band
from sgpo.report.text import harmless

WIDTH, HEIGHT = 340, 196
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 8, 22
HUES = 12  # method colours in the style sheet

Scale = tuple[float, float]  # the values at the two ends of an axis


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round values between ``low`` and ``high``."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
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
        xs = [_across(step, x) for step in band.steps]
        line = _path(xs, [_up(v, y) for v in band.mean])
        parts.append(Markup('<g class="m m{}">').format(hues[band.method] % HUES))
        if band.seeds > 1:
            outline = _path(xs, [_up(v, y) for v in band.high])
            back = _path(xs[::-1], [_up(v, y) for v in band.low[::-1]])
            parts.append(Markup('<path class="band" d="{}L{}Z"/>').format(outline, back[1:]))
        if len(xs) == 1:  # a line of one point draws nothing: a run that has logged a single step
            parts.append(
                Markup('<circle class="only" cx="{}" cy="{}" r="3"/>').format(_n(xs[0]), _n(_up(band.mean[0], y)))
            )
        data = ";".join(f"{step:.0f},{value:.4g}" for step, value in zip(band.steps, band.mean, strict=True))
        parts.append(Markup('<path class="line" d="{}" data-s="{}"/></g>').format(line, data))
    return _chart(Markup("").join(parts), label, x, unit, at)


def share_chart(steps: Sequence[float], layers: Sequence[Sequence[float]], *, label: str) -> Markup:
    """Shares that add up to at most 1, stacked from below: layer i has the class ``s<i>``."""
    x, y = (steps[0], steps[-1]), (0.0, 1.0)
    xs = [_across(step, x) for step in steps]
    floor = [0.0] * len(steps)
    parts = [_frame(x, y, "%")]
    for i, layer in enumerate(layers):
        top = [a + b for a, b in zip(floor, layer, strict=True)]
        back = _path(xs[::-1], [_up(v, y) for v in floor[::-1]])
        parts.append(
            Markup('<path class="layer s{}" d="{}L{}Z"/>').format(i, _path(xs, [_up(v, y) for v in top]), back[1:])
        )
        floor = top
    return _chart(Markup("").join(parts), label, x, "")


def heat_chart(steps: Sequence[float], columns: Sequence[Sequence[float]], *, top: float, label: str) -> Markup:
    """A histogram over time: column i holds the shares of the bins from 0 (at the bottom) to ``top``."""
    x, y = (steps[0], steps[-1]), (0.0, top)
    bins = len(columns[0])
    wide, tall = (WIDTH - LEFT - RIGHT) / len(columns), (HEIGHT - TOP - BOTTOM) / bins
    cell = Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"/>')
    parts = []
    for i, column in enumerate(columns):
        for j, share in enumerate(column):
            if share > 0:  # few problems must still be seen, hence the root
                corner = (_n(LEFT + i * wide), _n(HEIGHT - BOTTOM - (j + 1) * tall))
                parts.append(cell.format(*corner, _n(wide), _n(tall), _n(min(1.0, share) ** 0.6)))
    return _chart(
        Markup('<g shape-rendering="crispEdges">{}</g>{}').format(Markup("").join(parts), _frame(x, y, "")),
        label,
        x,
        "",
    )


def strip(
    value: float, scale: Scale, *, ends: tuple[float, float] | None = None, dots: Sequence[float] = (), hue: int = 1
) -> Markup:
    """One row of a dot plot: the value, its interval, and a faint dot for each seed; a line at 0 if 0 is inside."""
    parts = []
    if scale[0] < 0 < scale[1]:
        parts.append(Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="100%"/>').format(_percent(0, scale)))
    parts += [Markup('<circle class="seed" cx="{}" cy="50%" r="2.5"/>').format(_percent(dot, scale)) for dot in dots]
    if ends is not None:
        span = (_percent(ends[0], scale), _percent(ends[1], scale))
        parts.append(Markup('<line class="span" x1="{}" x2="{}" y1="50%" y2="50%"/>').format(*span))
    parts.append(Markup('<circle class="dot" cx="{}" cy="50%" r="5"/>').format(_percent(value, scale)))
    body = Markup("").join(parts)
    return Markup('<svg class="strip m{}" aria-hidden="true">{}</svg>').format(hue % HUES, body)


def axis(scale: Scale, *, factor: float = 100, count: int = 5) -> Markup:
    """About ``count`` labels under a column of strips, times ``factor``."""
    marks = ticks(*scale, count=count)
    parts = [
        Markup('<text x="{}" y="12" text-anchor="{}">{}</text>').format(
            _percent(tick, scale), _anchor(tick, scale), f"{factor * tick:g}".replace("-", "\u2212")
        )
        for tick in marks
    ]
    return Markup('<svg class="strip axis" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def bars(values: Sequence[float], levels: Sequence[int], *, top: float, line: float, tall: int = 44) -> Markup:
    """A bar per token, as high as its value and coloured by its level; a ``line`` below ``top`` is drawn across."""
    top = max(top, 1e-9)
    wide = 100 / max(1, len(values))
    parts = []
    for i, (value, level) in enumerate(zip(values, levels, strict=True)):
        high = max(1.0, (tall - 2) * value / top)
        parts.append(
            Markup('<rect class="k{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                level, _n(i * wide), _n(tall - high), _n(wide * 0.82), _n(high)
            )
        )
    if line < top:
        parts.append(
            Markup('<line class="limit" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(
                _n(tall - (tall - 2) * line / top)
            )
        )
    return Markup('<svg class="bars" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def _chart(body: Markup, label: str, x: Scale, unit: str, at: str = "step {}") -> Markup:
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}" data-x="{},{}" data-box="{},{}" '
        'data-unit="{}" data-at="{}">{}<line class="cursor" visibility="hidden" y1="{}" y2="{}"/></svg>'
    ).format(harmless(label), WIDTH, HEIGHT, *map(_n, x), LEFT, WIDTH - RIGHT, unit, at, body, TOP, HEIGHT - BOTTOM)


def _frame(x: Scale, y: Scale, unit: str, across: Callable[[float], str] = "{:g}".format) -> Markup:
    """Grid lines and the labels of both axes."""
    parts = []
    for tick in ticks(*y):
        at = _n(_up(tick, y))
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, at, at))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                LEFT - 6, _n(_up(tick, y) + 3.5), value_text(tick, unit)
            )
        )
    for tick in ticks(*x, count=5):
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
                _n(_across(tick, x)), HEIGHT - 6, _anchor(tick, x), across(tick)
            )
        )
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
