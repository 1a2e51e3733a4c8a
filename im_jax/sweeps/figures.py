"""Figures of a sweep: a measure over the x axis, a line a series, bars of one deviation over seeds."""

import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

from im_jax.sweeps.aggregation import Group
from im_jax.sweeps.definition import Measure, Plot, Reference, Scale, Sweep, number
from im_jax.sweeps.results import write_whole
from im_jax.sweeps.tables import to_csv

_PANELS_IN_A_ROW: Final = 3
_APART: Final = 0.008
"""Between the bars of two lines, as a share of the x axis."""
_MOST_TICKS: Final = 8
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, which all readers can tell apart."""


@dataclass
class Line:
    """What is drawn as one line."""

    title: str
    series: str
    reference: bool
    x: list[str] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    sd: list[float | None] = field(default_factory=list)


Panels = dict[str, list[Line]]
"""Lines by the title of their panel."""


def draw(sweep: Sweep, groups: Sequence[Group], directory: pathlib.Path) -> list[pathlib.Path]:
    """Draw each measure that any run has, and write its numbers beside it. Returns the pictures."""
    if sweep.plot is None:
        return []
    directory.mkdir(exist_ok=True)
    pictures = []
    for measure in sweep.measures:
        panels = lines_of(sweep, sweep.plot, measure, groups)
        if not any(line.mean for lines in panels.values() for line in lines if not line.reference):
            continue
        picture = directory / (re.sub(r"[^\w.+-]", "_", measure.name) + ".png")
        figure_of(sweep, sweep.plot, measure, panels).savefig(picture, dpi=150)
        write_whole(picture.with_suffix(".csv"), _numbers(panels))
        pictures.append(picture)
    return pictures


def lines_of(sweep: Sweep, plot: Plot, measure: Measure, groups: Sequence[Group]) -> Panels:
    """The lines of a figure, by panel."""
    panels: dict[str, dict[str, Line]] = {}
    for group in groups:
        others = [f"{axis}={p}" for axis, p in group.labels.items() if axis not in (plot.x, plot.series)]
        lines = panels.setdefault(", ".join(others), {})
        series = group.labels.get(plot.series, "")
        line = lines.setdefault(series, Line(series or sweep.title, series, reference=False))
        statistic = group.statistic(measure)
        if statistic.mean is not None:
            line.x.append(group.labels[plot.x])
            line.n.append(statistic.n)
            line.mean.append(statistic.mean)
            line.sd.append(statistic.sd)
    references = [_reference(r) for r in plot.references if r.measure == measure.name]
    return {title: [*lines.values(), *references] for title, lines in panels.items()}


def _reference(reference: Reference) -> Line:
    title = f"{reference.series}, {reference.title}" if reference.series else reference.title
    x, means = list(reference.points), [float(value) for value in reference.points.values()]
    return Line(title, reference.series, True, x, [1] * len(x), means, [None] * len(x))


def _numbers(panels: Panels) -> str:
    lines: list[list[object]] = [["panel", "line", "kind", "x", "n", "mean", "sd"]]
    for panel, drawn in panels.items():
        for line in drawn:
            kind = "reference" if line.reference else "measured"
            for x, n, mean, sd in zip(line.x, line.n, line.mean, line.sd, strict=True):
                counted = "" if line.reference else n
                lines.append([panel, line.title, kind, x, counted, mean, "" if sd is None else sd])
    return to_csv(lines)


def figure_of(sweep: Sweep, plot: Plot, measure: Measure, panels: Panels) -> Figure:
    """A figure of one measure, a panel beside the other."""
    columns = min(len(panels), _PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        # Without pyplot, which keeps figures, and a backend that may need a display, for the whole process.
        figure = Figure(figsize=(5.6 * columns, 4.0 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for at, (title, lines) in enumerate(panels.items()):
            _panel(axes[at], sweep, plot, lines)
            axes[at].set(title=title, xlabel=plot.x, ylabel="" if at % columns else measure.heading)
        for ax in axes[len(panels) :]:
            ax.remove()
    return figure


def _panel(ax: Any, sweep: Sweep, plot: Plot, lines: Sequence[Line]) -> None:
    labels = list(sweep.axes[plot.x])
    numeric = all(number(label) is not None for label in labels)
    log = numeric and plot.x_scale is Scale.LOG
    places = {label: float(at) for at, label in enumerate(labels)}
    if numeric:
        places = {x: float(x) for x in [*labels, *(x for line in lines for x in line.x)]}
    series = list(sweep.axes[plot.series]) if plot.series else [""]
    for at, line in enumerate(lines):
        colour = _COLOURS[series.index(line.series) % len(_COLOURS)] if line.series in series else "0.4"
        ax.errorbar(
            _aside([places[x] for x in line.x], list(places.values()), at - (len(lines) - 1) / 2, log),
            line.mean,
            None if line.reference else [sd or 0.0 for sd in line.sd],
            label=line.title,
            color=colour,
            capsize=3,
            marker="x" if line.reference else "o",
            markersize=5,
            linestyle="--" if line.reference else "-" if numeric else "none",
        )
    if log:
        ax.set_xscale("log")
    if len(labels) <= _MOST_TICKS or not numeric:
        ax.set_xticks([places[label] for label in labels], labels)
        ax.minorticks_off()
    ax.grid(alpha=0.3)
    if plot.series or len(lines) > 1:
        ax.legend(title=plot.series or None, frameon=False)


def _aside(x: Sequence[float], places: Sequence[float], steps: float, log: bool) -> list[float]:
    """Places moved by a little of the axis's length, so that bars at one place do not hide each other."""
    low, high = min(places), max(places)
    if log:
        return [place * (high / low) ** (steps * _APART) for place in x]
    return [place + (high - low) * steps * _APART for place in x]
