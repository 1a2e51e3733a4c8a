"""Checks of what a sweep's report is to draw: profiles, the plot and its references."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from im_jax.errors import ConfigError
from im_jax.sweeps.charts import file_name, profile_series
from im_jax.sweeps.definition import Kind, Measure, Plot, Profile, Reference, Scale, Sweep, number


@dataclass(frozen=True)
class _Figure:
    """What a reference may name in a figure."""

    x: str
    labels: Collection[str] | None
    """None: x is measured."""
    series: Collection[str]
    panel_axes: Collection[str]


def check_drawing(sweep: Sweep) -> None:
    """Stop at what cannot be drawn, or would mean nothing. Axes and measures are right already.

    Raises:
        ConfigError: names the profile, the part of the plot or the reference.
    """
    for measure in sweep.measures:
        _check_bounds(f"measure {measure.name!r}", measure.bounds)
    for profile in sweep.profiles:
        _check_profile(profile)
        _check_bounds(f"profile {profile.title!r}", profile.bounds)
    _check_files(sweep)
    if sweep.plot is not None:
        _check_plot(sweep, sweep.plot)
        figures = _figures(sweep, sweep.plot)
        for reference in sweep.plot.references:
            _check_reference(sweep, reference, figures)


def _check_profile(profile: Profile) -> None:
    where = f"profile {profile.title!r}"
    if not profile.title or not profile.x:
        raise ConfigError(f"{where} with x={profile.x!r}: give it a title, and a name of its x axis")
    if not isinstance(profile.points, Mapping) or not profile.points:
        raise ConfigError(f"{where}: give its points as {{label: name in summary.json}}")
    for label, name in profile.points.items():
        if not isinstance(label, str) or not isinstance(name, str):
            raise ConfigError(
                f"{where}, point {label}: a point is two texts, as '5': 'rewrites.unseen/occurrences_5'"
            )
    _check_scale(f"{where}: x_scale", profile.x_scale, profile.points, f"of {profile.x}")


def _check_bounds(where: str, bounds: Any) -> None:
    numbers = isinstance(bounds, tuple) and len(bounds) == 2 and all(_is_number(end) for end in bounds)
    if not numbers or not bounds[0] < bounds[1]:
        raise ConfigError(
            f"{where}: bounds={bounds!r}: give the lowest and the highest number, such as (0, 1)"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_files(sweep: Sweep) -> None:
    """Stop at what would be drawn over another figure."""
    taken: dict[str, str] = {}
    names = [(measure.name, f"measure {measure.name!r}") for measure in sweep.measures]
    for name, where in names + [(profile.title, f"profile {profile.title!r}") for profile in sweep.profiles]:
        file = file_name(name)
        if file in taken:
            raise ConfigError(f"{where}: its figure would be {file}, as that of {taken[file]}; rename it")
        taken[file] = where


def _check_plot(sweep: Sweep, plot: Plot) -> None:
    for role, axis in (("x", plot.x), ("series", plot.series)):
        if axis not in sweep.axes and (axis or role == "x"):
            raise ConfigError(f"plot.{role}={axis!r} is no axis; {_choice(axis, sweep.axes)}")
    if plot.x == plot.series:
        raise ConfigError(f"plot.x and plot.series are both {plot.x}; choose two axes")
    if plot.x_measure is None:
        _check_scale("plot.x_scale", plot.x_scale, sweep.axes[plot.x], f"of axis {plot.x}")
    elif not isinstance(plot.x_measure, Measure):
        kind = type(plot.x_measure).__name__
        raise ConfigError(f"plot.x_measure={plot.x_measure!r} is {kind}; it must be Measure or None")
    if not isinstance(plot.kind, Kind):
        raise ConfigError(f"plot.kind={plot.kind!r} is {type(plot.kind).__name__}; it must be Kind")
    if plot.kind is Kind.HEAT_MAP:
        _check_heat_map(sweep, plot)


def _check_heat_map(sweep: Sweep, plot: Plot) -> None:
    """Stop at what has no place among fields of one size."""
    if not plot.series:
        raise ConfigError("plot.kind is a heat map, which has two axes; set plot.series to the other one")
    if plot.x_measure is not None or plot.x_scale is not Scale.LINEAR:
        raise ConfigError(
            "plot.kind is a heat map, with fields side by side; leave out plot.x_measure and plot.x_scale"
        )
    measures = {measure.name for measure in sweep.measures}
    for reference in (reference for reference in plot.references if reference.measure in measures):
        raise ConfigError(
            f"reference {reference.title!r}: a heat map has no place for it; compare a profile with it, "
            "or draw lines"
        )


def _check_scale(name: str, scale: Scale, labels: Iterable[str], whose: str) -> None:
    numbers = [number(label) for label in labels]
    if scale is Scale.LOG and not all(value is not None and value > 0 for value in numbers):
        raise ConfigError(f"{name} is log, but not every label {whose} is a number above 0")


def _figures(sweep: Sweep, plot: Plot) -> dict[str, _Figure]:
    """By what a reference names them."""
    points = sweep.axes[plot.series] if plot.series else {}
    others = sweep.axes.keys() - {plot.x, plot.series}
    of_measures = _Figure(plot.x, None if plot.x_measure else sweep.axes[plot.x], points, others)
    panel_axes = sweep.axes.keys() - {plot.series} if plot.series else ()
    return {measure.name: of_measures for measure in sweep.measures} | {
        profile.title: _Figure(profile.x, profile.points, profile_series(sweep), panel_axes)
        for profile in sweep.profiles
    }


def _check_reference(sweep: Sweep, reference: Reference, figures: Mapping[str, _Figure]) -> None:
    where, name = f"reference {reference.title!r}", reference.measure
    if name not in figures:
        raise ConfigError(f"{where}: {name!r} is no measure and no profile; {_choice(name, figures)}")
    figure = figures[name]
    if reference.series and reference.series not in figure.series:
        hint = _choice(reference.series, figure.series)
        raise ConfigError(f"{where}: series {reference.series!r} is no point; {hint}")
    for axis, label in reference.panel.items():
        if axis not in figure.panel_axes:
            hint = _choice(axis, sorted(figure.panel_axes))
            raise ConfigError(f"{where}: panel {axis!r} is no axis that has panels; {hint}")
        if label not in sweep.axes[axis]:
            raise ConfigError(
                f"{where}: panel {axis}={label!r} is no point; {_choice(label, sweep.axes[axis])}"
            )
    _check_places(where, reference, figure)


def _check_places(where: str, reference: Reference, figure: _Figure) -> None:
    """Points are at labels of the x axis, or between them where these are numbers."""
    labels = () if figure.labels is None else figure.labels
    numeric = all(number(label) is not None for label in labels)
    for label in reference.points:
        if label not in labels and not (numeric and number(label) is not None):
            measured = ", which is measured; give a number" if figure.labels is None else ""
            raise ConfigError(f"{where}: {label!r} is no place on the axis {figure.x}{measured}")


def _choice(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known) or 'none'}"
