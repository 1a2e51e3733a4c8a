"""A panel of a heat map: a field for each point of two axes, coloured by its mean, with its numbers in it."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from im_jax.sweeps.chart import Chart, Line, Point
from im_jax.sweeps.panels import LETTER, LINE, shown

COLOURS: Final = "viridis"
"""Evenly stepped, also for readers who see few colours, and in grey."""

_NO_RUN: Final = "0.93"
"""Of a field without a number."""
_TITLE: Final = 1.6
"""Inches of a line of a row's title."""
_EDGE: Final = 0.179
"""Relative luminance above which black is read better than white (WCAG 2: equal contrast to both)."""


def size(chart: Chart) -> tuple[float, float]:
    """Width and height of a panel in inches, so that the numbers fit into their fields."""
    decimals = _decimals(chart)
    numbers = [line for point in _points(chart) for line in _text(point, decimals).splitlines()]
    room = LETTER * (max(map(len, numbers)) + 1)
    return max(room, 0.7) * len(chart.labels), max(3 * LINE, 0.5) * len(chart.series)


def scale(chart: Chart) -> ScalarMappable:
    """The colours of all panels: over the bounds if both are finite, else over the means."""
    return ScalarMappable(Normalize(*_span(chart)), COLOURS)


def draw_heat_map(ax: Any, chart: Chart, lines: Sequence[Line], colours: ScalarMappable) -> None:
    """Draw the lines of a panel as rows, the first of the series at the bottom."""
    decimals = _decimals(chart)
    ax.set_facecolor(_NO_RUN)
    for line in lines:
        row = chart.series.index(line.series)
        for point in line.points:
            _draw_field(ax, chart.labels.index(point.label), row, point, decimals, colours)
    ax.set(xlim=(-0.5, len(chart.labels) - 0.5), ylim=(-0.5, len(chart.series) - 0.5))
    room = size(chart)[0] / len(chart.labels)
    ax.set_xticks(range(len(chart.labels)), [shown(label, room) for label in chart.labels])
    ax.set_yticks(range(len(chart.series)), [shown(label, _TITLE) for label in chart.series])
    ax.tick_params(length=0)


def _draw_field(ax: Any, column: int, row: int, point: Point, decimals: int, colours: ScalarMappable) -> None:
    (colour,) = colours.to_rgba(np.array([point.mean])).tolist()
    ax.add_patch(_square(column, row, colour))
    ax.text(
        column,
        row,
        _text(point, decimals),
        ha="center",
        va="center",
        fontsize="small",
        color="black" if _luminance(colour[:3]) > _EDGE else "white",
    )


def _square(column: int, row: int, colour: Any) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1)


def _text(point: Point, decimals: int) -> str:
    mean = f"{point.mean:.{decimals}f}"
    return mean if point.sd is None else f"{mean}\n± {point.sd:.{decimals}f}"


def _decimals(chart: Chart) -> int:
    """As many as show a hundredth of what the colours span."""
    low, high = _span(chart)
    return min(max(2 - math.floor(math.log10(high - low)), 0), 10)


def _span(chart: Chart) -> tuple[float, float]:
    """The lowest and the highest number that has a colour."""
    means = [point.mean for point in _points(chart)]
    # A number that its measure should not have is drawn all the same.
    seen = [*means, *chart.bounds] if all(map(math.isfinite, chart.bounds)) else means
    low, high = min(seen), max(seen)
    return low, high if high > low else low + 1.0


def _luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _points(chart: Chart) -> list[Point]:
    return [point for panel in chart.panels for line in panel.measured.values() for point in line.points]
