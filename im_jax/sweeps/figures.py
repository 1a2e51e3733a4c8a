"""Figures of a sweep: numbers over an x axis, a line a series, bars of one deviation over seeds."""

import pathlib
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

from im_jax.files import write_whole
from im_jax.sweeps.charts import Chart, Line, file_name
from im_jax.sweeps.definition import Scale, number
from im_jax.sweeps.tables import to_csv

ENDINGS: Final = (".png", ".csv")
"""The files of a figure."""

_PANELS_IN_A_ROW: Final = 3
_APART: Final = 0.008
"""Between the bars of two lines, as a share of the x axis."""
_MOST_TICKS: Final = 8
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, which all readers can tell apart."""


def draw(chart: Chart, directory: pathlib.Path) -> pathlib.Path | None:
    """Draw a chart and write its numbers beside it. Returns the picture; None if there is nothing to draw."""
    if chart.is_empty():
        return None
    directory.mkdir(exist_ok=True)
    picture = directory / file_name(chart.name)
    figure_of(chart).savefig(picture, dpi=150)
    write_whole(picture.with_suffix(".csv"), _numbers(chart))
    return picture


def _numbers(chart: Chart) -> str:
    lines: list[list[object]] = [["panel", "line", "kind", "point", "x", "n", "mean", "sd"]]
    for panel in chart.panels:
        for line in panel.lines:
            kind = "reference" if line.reference else "measured"
            # None is an empty cell.
            lines += [[panel.title, line.title, kind, *point] for point in line.points]
    return to_csv(lines)


def figure_of(chart: Chart) -> Figure:
    """A figure of a chart, a panel beside the other."""
    columns = min(len(chart.panels), _PANELS_IN_A_ROW)
    rows = -(-len(chart.panels) // columns)
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        # Without pyplot, which keeps figures, and a backend that may need a display, for the whole process.
        figure = Figure(figsize=(5.6 * columns, 4.0 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for at, panel in enumerate(chart.panels):
            _draw_panel(axes[at], chart, panel.lines)
            axes[at].set(title=panel.title, xlabel=chart.x, ylabel="" if at % columns else chart.y)
        for ax in axes[len(chart.panels) :]:
            ax.remove()
    return figure


def _draw_panel(ax: Any, chart: Chart, lines: Sequence[Line]) -> None:
    places, numeric = _places(chart)
    log = numeric and chart.x_scale is Scale.LOG and all(place > 0 for place in places.values())
    for at, line in enumerate(lines):
        known = line.series in chart.series
        colour = _COLOURS[chart.series.index(line.series) % len(_COLOURS)] if known else "0.4"
        x = [places[point.x] for point in line.points]
        ax.errorbar(
            _aside(x, list(places.values()), at - (len(lines) - 1) / 2, log),
            [point.mean for point in line.points],
            None if line.reference else [point.sd or 0.0 for point in line.points],
            label=line.title,
            color=colour,
            capsize=3,
            marker="x" if line.reference else "o",
            markersize=5,
            linestyle="--" if line.reference else "-" if numeric else "none",
        )
    if log:
        ax.set_xscale("log")
    if chart.labels and (len(chart.labels) <= _MOST_TICKS or not numeric):
        ax.set_xticks([places[label] for label in chart.labels], chart.labels)
        ax.minorticks_off()
    ax.grid(alpha=0.3)
    if chart.legend or len(lines) > 1:
        ax.legend(title=chart.legend or None, frameon=False)


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
