"""Figures of the page: boxes and lines that grow with it, and letters that do not shrink with it.

A figure is HTML, so that a narrow screen gets the same letters and fewer of them: `minor` ones go first.
"""

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from im_jax.data.report.as_text import bin_name
from im_jax.data.report.counts import Counts
from im_jax.data.report.numbers import share
from im_jax.text import as_html, counted

_TOPS: Final = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)
"""First digits of the highest level of a histogram; half of it is written out too."""
_ROUND: Final = frozenset((1, 2, 5))
"""First digits of edges that are written out."""


class Mark(NamedTuple):
    """A place on the x axis with a name, such as the median."""

    name: str
    value: float
    style: str = ""


def histogram(
    counts: Counts,
    edges: Sequence[int],
    unit: str,
    *,
    style: str,
    marks: Sequence[Mark] = (),
    beyond: int | None = None,
) -> str:
    """Bars, each for a bin, as high as its share of the numbers.

    Args:
        counts: the numbers.
        edges: of the bins: see `counts.edges_for`.
        unit: what is counted, such as `words`.
        style: class of the bars.
        marks: named places.
        beyond: bins above this number are shown as too long.
    """
    found, total = counts.histogram(edges), max(len(counts), 1)
    top = _nice(100 * max(found, default=0) / total, _TOPS)
    bars = []
    for (low, high), count in zip(itertools.pairwise(edges), found, strict=True):
        height = 100 * (100 * count / total) / top
        over = " over" if beyond is not None and low > beyond else ""
        tip = f"{bin_name(low, high)} {unit}: {counted(count, 'example')}, {share(count, total)}"
        bars.append(f'<i class="{style}{over}" style="height:{height:.2f}%" title="{as_html(tip)}"></i>')
    grid = "".join(
        f'<b class="line" style="bottom:{at:.0f}%"><u>{_percent(top * at / 100)}</u></b>' for at in (50, 100)
    )
    named = "".join(_mark(mark, edges) for mark in marks)
    below = f'<div class="axis">{"".join(_ticks(edges))}</div>'
    drawn = f'{grid}<div class="bars">{"".join(bars)}</div>{named}'
    return f'<div class="plot"><div class="area">{drawn}</div>{below}</div>'


def _mark(mark: Mark, edges: Sequence[int]) -> str:
    at = position(mark.value, edges)
    side = "left" if at > 60 else "right"
    return f'<b class="mark {side} {mark.style}" style="left:{at:.2f}%"><u>{as_html(mark.name)}</u></b>'


def position(value: float, edges: Sequence[int]) -> float:
    """Where a number is on an axis whose bins are equally wide, in per cent."""
    bin_ = min(max(bisect.bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[bin_], edges[bin_ + 1]
    # A whole number is a box of its own, and is in the middle of it.
    inside = min(max((value + 0.5 - low) / (high - low), 0.0), 1.0)
    return 100 * (bin_ + inside) / (len(edges) - 1)


def _ticks(edges: Sequence[int]) -> Iterator[str]:
    last = len(edges) - 1
    for at, edge in enumerate(edges):
        digits = str(edge).rstrip("0") or "0"
        if digits not in ("0", "1", "2", "5") and not (at in (0, last) and last < 8):
            continue
        minor = " minor" if digits in ("2", "5") else ""
        yield f'<span class="tick{minor}" style="left:{100 * at / last:.2f}%">{short(edge)}</span>'


def short(number: float) -> str:
    """`500`, `1k`, `20k`, `1M`."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def stacked(parts: Iterable[tuple[str, str, float]], label: str) -> str:
    """One bar of 100 %, of parts with a class, a tip and a share in per cent."""
    boxes = "".join(
        f'<i class="{style}" style="width:{percent:.3f}%" title="{as_html(tip)}"></i>'
        for style, tip, percent in parts
        if percent
    )
    return f'<div class="stacked"><span>{as_html(label)}</span><div>{boxes}</div></div>'


class Dot(NamedTuple):
    """A point of a curve's figure."""

    name: str
    x: float
    y: float
    style: str
    side: str = "above"
    """Where its name stands; `marked`: at the top, on a line through the dot."""


class Curve(NamedTuple):
    """`slope * ln(x) + intercept` over a range that it is known for."""

    slope: float
    intercept: float
    known: tuple[float, float]

    def y(self, x: float) -> float:
        """Its value."""
        return self.slope * math.log(x) + self.intercept


def curve(line: Curve, dots: Sequence[Dot], x_title: str, y_title: str) -> str:
    """A straight line over a logarithmic axis, dashed where it is not known, with dots."""
    xs = [*line.known, *(dot.x for dot in dots)]
    left, right = min(xs) / 1.6, max(xs) * 1.6
    ys = [line.y(left), line.y(right), 0.0, *(dot.y for dot in dots)]
    step = _nice((max(ys) - min(ys)) / 4)
    bottom, top = step * math.floor(min(ys) / step), step * math.ceil(max(ys) / step)

    def along(x: float) -> float:
        return 100 * math.log(x / left) / math.log(right / left)

    def up(y: float) -> float:
        return 100 * (y - bottom) / (top - bottom)

    def path(first: float, last: float, style: str) -> str:
        ends = (along(first), 100 - up(line.y(first)), along(last), 100 - up(line.y(last)))
        return '<line class="{}" x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}"/>'.format(style, *ends)

    low, high = line.known
    lines = path(left, low, "guess") + path(low, high, "fit") + path(high, right, "guess")
    svg = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{lines}</svg>'
    band = f'<b class="band" style="left:{along(low):.2f}%;width:{along(high) - along(low):.2f}%"></b>'
    levels = [bottom + step * at for at in range(round((top - bottom) / step) + 1)]
    grid = "".join(
        f'<b class="{"line zero" if abs(y) < step / 2 else "line"}" style="bottom:{up(y):.2f}%">'
        f"<u>{_percent(y)}</u></b>"
        for y in levels
    )
    points = "".join(_dot(dot, along(dot.x), up(dot.y)) for dot in dots)
    ticks = "".join(
        f'<span class="tick{" minor" if minor else ""}" style="left:{along(x):.2f}%">{short(x)}</span>'
        for x, minor in _log_ticks(left, right)
    )
    drawn = f'<div class="area">{band}{grid}{svg}{points}</div><div class="axis">{ticks}</div>'
    titles = [
        f'<p class="{style}">{as_html(text)}</p>' for style, text in (("title", y_title), ("x", x_title))
    ]
    return f'{titles[0]}<div class="plot tall">{drawn}</div>{titles[1]}'


def _dot(dot: Dot, left: float, bottom: float) -> str:
    """A dot with its name beside it, or on a mark above all others, so that no dot hides it."""
    name, tip = as_html(dot.name), as_html(f"{dot.name}: {dot.x:g}, {dot.y:.1f} %")
    marked = dot.side == "marked"
    beside = "" if marked else f"<u>{name}</u>"
    side = "left" if left > 60 else "right"
    mark = f'<b class="mark {side} limit" style="left:{left:.2f}%"><u>{name}</u></b>' if marked else ""
    return (
        f'{mark}<b class="dot {dot.style} {dot.side}" style="left:{left:.2f}%;bottom:{bottom:.2f}%" '
        f'title="{tip}">{beside}</b>'
    )


def _log_ticks(left: float, right: float) -> Iterator[tuple[float, bool]]:
    for decade in range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1):
        for digit in sorted(_ROUND):
            x = float(f"{digit}e{decade}")
            if left <= x <= right:
                yield x, digit != 1


def _nice(value: float, digits: Sequence[float] = (1, 2, 5, 10)) -> float:
    """The next number of such first digits that is not less."""
    if value <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(value))
    return float(next(digit * decade for digit in digits if digit * decade >= value * (1 - 1e-9)))


def _percent(value: float) -> str:
    return f"{round(value, 6):g} %".replace("-", "\N{MINUS SIGN}")
