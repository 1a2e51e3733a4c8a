"""What the figures of a sweep show: the points of each line, and the lines of each panel."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from im_jax.sweeps.aggregation import Group, Statistic
from im_jax.sweeps.cells import combinations
from im_jax.sweeps.definition import Labels, Measure, Plot, Profile, Reference, Scale, Sweep

MEASURED: Final = "measured"
"""Title of the only line of a figure, beside those of references."""


class Point(NamedTuple):
    """A mark on a line."""

    label: str
    """Of the x axis; where x is measured, that of the axis it stands for."""
    x: str
    """Where it is drawn: the label, or the number where x is measured."""
    n: int | None
    """Seeds; None for a reference."""
    mean: float
    sd: float | None


@dataclass
class Line:
    """What is drawn as one line."""

    title: str
    series: str
    reference: bool
    points: list[Point] = field(default_factory=list)


@dataclass
class Panel:
    """Lines that share their axes."""

    labels: Labels
    """The points that it is for."""
    measured: dict[str, Line] = field(default_factory=dict)
    """By series."""
    references: list[Line] = field(default_factory=list)

    @property
    def title(self) -> str:
        """`examples=100, rate=0.001`; empty for the only one."""
        return in_words(self.labels)

    @property
    def lines(self) -> list[Line]:
        """All of them, references last."""
        return [*self.measured.values(), *self.references]


@dataclass(frozen=True)
class Chart:
    """One figure."""

    name: str
    x: str
    """Title of the x axis."""
    x_scale: Scale
    labels: Sequence[str]
    """Places on the x axis that are there in any case, in order; none where x is measured."""
    y: str
    legend: str
    """Title of the legend."""
    series: Sequence[str]
    """In the order of their colours."""
    panels: Sequence[Panel]

    def is_empty(self) -> bool:
        """Whether no run has any of its numbers."""
        return not any(line.points for panel in self.panels for line in panel.measured.values())


def of_measure(sweep: Sweep, plot: Plot, measure: Measure, groups: Sequence[Group]) -> Chart:
    """A measure over the plot's x axis; other axes but the series become panels."""

    def points(group: Group) -> Iterable[Point]:
        label, x = group.labels[plot.x], group.labels[plot.x]
        if plot.x_measure is not None:
            place = group.statistic(plot.x_measure).mean
            if place is None:
                return []
            x = repr(place)
        return _points([(label, x, group.statistic(measure))])

    others = sweep.axes.keys() - {plot.x, plot.series}
    panels = _panels(groups, others, lambda labels: labels.get(plot.series, ""), points)
    if plot.x_measure is not None:
        for line in (line for panel in panels for line in panel.lines):
            line.points.sort(key=lambda point: float(point.x))
    _add_references(panels, plot, measure.name)
    return Chart(
        name=measure.name,
        x=plot.x_measure.heading if plot.x_measure else plot.x,
        x_scale=plot.x_scale,
        labels=[] if plot.x_measure else list(sweep.axes[plot.x]),
        y=measure.heading,
        legend=plot.series,
        series=list(sweep.axes[plot.series]) if plot.series else [""],
        panels=panels,
    )


def of_profile(sweep: Sweep, profile: Profile, groups: Sequence[Group]) -> Chart:
    """A profile over its own x axis; axes but the series become panels, or all together the series."""

    def points(group: Group) -> Iterable[Point]:
        statistics = [group.statistic(measure) for measure in profile.measures()]
        return _points(zip(profile.points, profile.points, statistics, strict=True))

    series = sweep.plot.series if sweep.plot else ""
    if series:
        panels = _panels(groups, sweep.axes.keys() - {series}, lambda labels: labels[series], points)
    else:
        panels = _panels(groups, set(), _combination, points)
    if sweep.plot is not None:
        _add_references(panels, sweep.plot, profile.title)
    return Chart(
        name=profile.title,
        x=profile.x,
        x_scale=profile.x_scale,
        labels=list(profile.points),
        y=profile.heading,
        legend=series or (next(iter(sweep.axes)) if len(sweep.axes) == 1 else ""),
        series=profile_series(sweep),
        panels=panels,
    )


def profile_series(sweep: Sweep) -> list[str]:
    """The lines of a profile: points of the series axis, or all combinations of points."""
    if sweep.plot and sweep.plot.series:
        return list(sweep.axes[sweep.plot.series])
    return [_combination(labels) for labels in combinations(sweep)]


def file_name(name: str) -> str:
    """The picture of a measure by its name, or of a profile by its title."""
    return re.sub(r"[^\w.+-]", "_", name) + ".png"


def in_words(labels: Labels) -> str:
    """`policy=im, examples=100`."""
    return ", ".join(f"{axis}={label}" for axis, label in labels.items())


def _combination(labels: Labels) -> str:
    """Points of all axes as one label; of one axis its own."""
    return next(iter(labels.values())) if len(labels) == 1 else in_words(labels)


def _points(found: Iterable[tuple[str, str, Statistic]]) -> list[Point]:
    return [Point(label, x, s.n, s.mean, s.sd) for label, x, s in found if s.mean is not None]


def _panels(
    groups: Sequence[Group],
    axes: Collection[str],
    series_of: Callable[[Labels], str],
    points_of: Callable[[Group], Iterable[Point]],
) -> list[Panel]:
    """A panel for each combination of points of `axes`, with the lines of all groups that have these."""
    panels: dict[str, Panel] = {}
    for group in groups:
        labels = {axis: label for axis, label in group.labels.items() if axis in axes}
        panel = panels.setdefault(in_words(labels), Panel(labels))
        series = series_of(group.labels)
        line = panel.measured.setdefault(series, Line(series or MEASURED, series, reference=False))
        line.points.extend(points_of(group))
    return list(panels.values())


def _add_references(panels: Sequence[Panel], plot: Plot, name: str) -> None:
    """Add what the measure or profile of that name is compared with, to the panels where it belongs."""
    for reference in (r for r in plot.references if r.measure == name):
        for panel in panels:
            has_series = not reference.series or reference.series in panel.measured
            if has_series and reference.panel.items() <= panel.labels.items():
                panel.references.append(_reference_line(reference))


def _reference_line(reference: Reference) -> Line:
    title = f"{reference.series}, {reference.title}" if reference.series else reference.title
    points = [Point(x, x, None, float(value), None) for x, value in reference.points.items()]
    return Line(title, reference.series, True, points)
