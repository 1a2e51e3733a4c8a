"""A panel of a figure: lines with bars, on axes that show what can be."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from im_jax.sweeps.chart import Chart, Line
from im_jax.sweeps.definition import Scale, number
from im_jax.text import in_one_line

Drawn = dict[str, Any]
"""What stands for each line in the legend, by its title."""

LETTER: Final = 0.085
LINE: Final = 0.2
"""Mean width of a letter and height of a line, in inches, at the size of labels."""

_APART: Final = 0.008
"""Between the bars of two lines, as a share of the x axis."""
_MOST_TICKS: Final = 16
_SLANTED: Final = 2.0
"""Inches of a line of a label that stands aslant."""
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, which all readers can tell apart."""
_MARKERS: Final = ("o", "s", "^", "D", "v")
"""As many as share no factor with the colours, so that both together repeat late."""


def draw_panel(ax: Any, chart: Chart, lines: Sequence[Line], width: float) -> Drawn:
    """Draw lines into axes of this width in inches."""
    places, numeric = _places(chart)
    log = numeric and chart.x_scale is Scale.LOG and all(place > 0 for place in places.values())
    drawn: Drawn = {}
    for at, line in enumerate(lines):
        x = [places[point.x] for point in line.points]
        x = _aside(x, list(places.values()), at - (len(lines) - 1) / 2, log)
        drawn[line.title] = _draw_line(ax, chart, line, x, numeric or chart.ordered)
    if log:
        ax.set_xscale("log")
    ax.set_ylim(*chart.limits())
    ax.grid(alpha=0.3)
    if chart.labels and (len(chart.labels) <= _MOST_TICKS or not numeric):
        _label(ax, chart, places, numeric, width)
    return drawn


def shown(text: str, width: float | None = None, size: Literal["medium", "large"] = "medium") -> str:
    """Text of others for matplotlib, which would read mathematics between dollars; in lines of a width."""
    text = in_one_line(text)
    if width is not None:
        most = max(int(width / (LETTER * (1.2 if size == "large" else 1.0))), 8)
        lines = len(textwrap.wrap(text, most))
        # As narrow as it goes in as many lines, so that none has a word alone.
        wrapped = (textwrap.wrap(text, letters) for letters in range(most // 2, most + 1))
        text = "\n".join(next((found for found in wrapped if len(found) <= lines), []))
    return text.replace("$", r"\$")


def _draw_line(ax: Any, chart: Chart, line: Line, x: Sequence[float], joined: bool) -> Any:
    known = line.series in chart.series and not (line.reference and not line.series)
    at = chart.series.index(line.series) if known else 0
    bars = [point.bar(chart.bounds) or (point.mean, point.mean) for point in line.points]
    below = [point.mean - low for point, (low, _) in zip(line.points, bars, strict=True)]
    above = [high - point.mean for point, (_, high) in zip(line.points, bars, strict=True)]
    has_bars = any(point.sd is not None for point in line.points)
    return ax.errorbar(
        x,
        [point.mean for point in line.points],
        [below, above] if has_bars else None,
        label=line.title,
        color=_COLOURS[at % len(_COLOURS)] if known else "0.4",
        capsize=3,
        elinewidth=1,
        marker="x" if line.reference else _MARKERS[at % len(_MARKERS)],
        markersize=5,
        linestyle="--" if line.reference else "-" if joined else "none",
        clip_on=False,  # a mark at the end of the axis is whole
        zorder=3,
    )


def _label(ax: Any, chart: Chart, places: Mapping[str, float], numeric: bool, width: float) -> None:
    """Mark the points of the x axis by their labels: side by side all, at numbers those that have room."""
    ax.minorticks_off()
    at = [places[label] for label in chart.labels]
    if numeric:
        ax.set_xticks(at, _with_room(ax, chart.labels, at, width))
        return
    room = width / len(at)
    labels = [shown(label, room) for label in chart.labels]
    fits = all(LETTER * len(line) <= room for label in labels for line in label.splitlines())
    ax.set_xticks(at, labels if fits else [shown(label, _SLANTED) for label in chart.labels])
    if not fits:
        ax.tick_params(axis="x", rotation=30)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _with_room(ax: Any, labels: Sequence[str], places: Sequence[float], width: float) -> list[str]:
    """Labels at places of their own, from left to right; empty where one would run into the one before."""
    ax.autoscale_view()
    inches = (ax.transData + ax.transAxes.inverted()).transform([(place, 0.0) for place in places])[
        :, 0
    ] * width
    end, kept = -math.inf, dict[int, str]()
    for at in sorted(range(len(places)), key=lambda at: inches[at]):
        text = shown(labels[at])
        half = LETTER * (len(text) + 1) / 2
        if inches[at] - half >= end:
            kept[at], end = text, inches[at] + half
    return [kept.get(at, "") for at in range(len(places))]


def _places(chart: Chart) -> tuple[dict[str, float], bool]:
    """The place of each x of any panel, and whether these are numbers; else they are side by side."""
    if not all(number(label) is not None for label in chart.labels):
        return {label: float(at) for at, label in enumerate(chart.labels)}, False
    lines = [line for panel in chart.panels for line in panel.lines]
    drawn = [point.x for line in lines for point in line.points]
    return {x: float(x) for x in [*chart.labels, *drawn]}, True


def _aside(x: Sequence[float], places: Sequence[float], steps: float, log: bool) -> list[float]:
    """Places moved by a little of the axis's length, so that bars at one place do not hide each other."""
    low, high = min(places), max(places)
    if log:
        return [place * (high / low) ** (steps * _APART) for place in x]
    return [place + (high - low) * steps * _APART for place in x]
