"""What one setting gains over another in per cent, along ln(x), with lines fitted and published."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from im_jax.data.report import fits
from im_jax.evaluation.statistics.intervals import Interval, student
from im_jax.sweeps.aggregation import Pairs, Statistic, statistic
from im_jax.sweeps.chart import Chart, Line, Panel, Point, in_words
from im_jax.sweeps.definition import ANY_NUMBER, Better, Gain, Labels, Scale, Sweep, number

_FEWEST = 3
"""Points that a line is fitted through: two lie on one in any case."""


class Row(NamedTuple):
    """The gain of one pair of settings."""

    labels: Labels
    series: str
    """Points of the axes other than x, which have a line of their own."""
    label: str
    x: float
    statistic: Statistic
    """Of the gain in per cent, over seeds."""


class Fitted(NamedTuple):
    """`slope * ln(x) + intercept` through the means, by least squares."""

    slope: float
    intercept: float
    points: int
    slope_interval: Interval
    """95 %, by Student's t with two degrees of freedom less than there are points."""

    @property
    def text(self) -> str:
        """As a reader sees it."""
        return f"{self.slope:.4g} ln(x) {'-' if self.intercept < 0 else '+'} {abs(self.intercept):.4g}"

    def at(self, x: float) -> float:
        """Its value."""
        return self.slope * math.log(x) + self.intercept


def rows(sweep: Sweep, gain: Gain, pairs: Sequence[Pairs]) -> list[Row]:
    """The gains that there are, by x: of pairs of runs whose second is above 0, at x above 0."""
    measure, found = sweep.measure(gain.measure), []
    sign = -1.0 if measure.better is Better.LOWER else 1.0
    for pair in pairs:
        x = _place(gain, pair)
        values = [
            sign * 100 * (one - other) / other for one, other in pair.values(measure).values() if other > 0
        ]
        if x is not None and x > 0 and values:
            others = {axis: label for axis, label in pair.labels.items() if axis != gain.x}
            found.append(Row(pair.labels, in_words(others), pair.labels[gain.x], x, statistic(values)))
    return sorted(found, key=lambda row: (row.series, row.x))


def _place(gain: Gain, pair: Pairs) -> float | None:
    if gain.x_measure is None:
        return number(pair.labels[gain.x])
    means = [each.statistic(gain.x_measure).mean for each in (pair.first, pair.second)]
    known = [mean for mean in means if mean is not None]
    return float(np.mean(known)) if known else None


def fitted(found: Sequence[Row]) -> dict[str, Fitted]:
    """A line for each series that has enough points at different x."""
    lines: dict[str, Fitted] = {}
    for series in dict.fromkeys(row.series for row in found):
        points = [
            (math.log(row.x), row.statistic.mean)
            for row in found
            if row.series == series and row.statistic.mean is not None
        ]
        if len({x for x, _ in points}) >= _FEWEST:
            lines[series] = fit_line(np.asarray(points, np.float64))
    return lines


def fit_line(points: np.ndarray) -> Fitted:
    """Least squares through points (ln x, y), three or more."""
    x, y = points.T
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    intercept = float(y.mean() - slope * x.mean())
    freedom = len(x) - 2
    rest = float(((y - slope * x - intercept) ** 2).sum())
    stderr = math.sqrt(rest / freedom / spread)
    return Fitted(slope, intercept, len(x), student(slope, stderr, freedom))


def chart(sweep: Sweep, gain: Gain, found: Sequence[Row]) -> Chart:
    """The gains, the lines through them, and the published one over what it was fitted to."""
    measure, compared = sweep.measure(gain.measure), sweep.compared_by(gain)
    panel = Panel({})
    for row in found:
        series = row.series or f"{compared.first} over {compared.second}"
        line = panel.measured.setdefault(series, Line(series, series, reference=False))
        mean = row.statistic.mean
        assert mean is not None
        x = row.label if gain.x_measure is None else repr(row.x)
        line.points.append(Point(row.label, x, row.statistic.n, mean, row.statistic.sd))
    for others, fit in fitted(found).items():
        xs = [row.x for row in found if row.series == others]
        series = others or f"{compared.first} over {compared.second}"
        title = f"{series}, least squares: {fit.text}"
        panel.references.append(_line(title, series, fit.at, (min(xs), max(xs))))
    if gain.fit is not None:
        title = f"{fits.LABEL}: {gain.fit.slope:g} ln(x) {gain.fit.intercept:+g}"
        panel.references.append(_line(title, "", gain.fit.gain, gain.fit.fitted))
    return Chart(
        name=chart_name(gain),
        title=sweep.title,
        x=gain.x_title,
        x_scale=Scale.LOG,
        labels=[],
        ordered=False,
        y=f"gain of {compared.first} over {compared.second} in {measure.title or measure.name}, %",
        bounds=ANY_NUMBER,
        legend="",
        series=list(panel.measured),
        panels=[panel],
    )


def chart_name(gain: Gain) -> str:
    """Of its figure."""
    return f"gain.{gain.measure}.{gain.x_measure.name if gain.x_measure else gain.x}"


def _line(title: str, series: str, value: Callable[[float], float], ends: tuple[float, float]) -> Line:
    # Along a logarithm it is straight, so that its ends suffice.
    points = [Point(f"{x:.4g}", repr(float(x)), None, value(x), None) for x in ends]
    return Line(title, series, reference=True, points=points)
