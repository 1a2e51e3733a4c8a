"""The charts of a sweep: the points of each line, and the lines of each panel."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from im_jax.sweeps.aggregation import Group, Statistic
from im_jax.sweeps.cells import as_name, combinations
from im_jax.sweeps.chart import Chart, Line, Panel, Point, in_words
from im_jax.sweeps.definition import Labels, Measure, Plot, Profile, Reference, Sweep

MEASURED: Final = "measured"
"""Title of the only line of a figure, beside those of references."""


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
        title=sweep.title,
        x=plot.x_measure.heading if plot.x_measure else plot.x,
        x_scale=plot.x_scale,
        labels=[] if plot.x_measure else list(sweep.axes[plot.x]),
        ordered=False,
        y=measure.heading,
        bounds=measure.bounds,
        legend=plot.series,
        series=list(sweep.axes[plot.series]) if plot.series else [""],
        panels=panels,
        kind=plot.kind,
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
        title=sweep.title,
        x=profile.x,
        x_scale=profile.x_scale,
        labels=list(profile.points),
        ordered=True,
        y=profile.heading,
        bounds=profile.bounds,
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
    return as_name(name) + ".png"


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
