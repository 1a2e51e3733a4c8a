"""What a sweep is: a base configuration, axes over it, seeds, what is measured, and how it is drawn.

A file in `configs/sweeps/` returns a `Sweep` from `get_sweep()`. `im_jax.sweeps.checks` checks it.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from im_jax.config import Config
from im_jax.data.report.fits import Fit
from im_jax.sweeps.evaluations import Evaluations

Overrides = Mapping[str, Any]
"""Fields of a configuration and their values: `{"loss.policy": "im"}`."""

Axis = Mapping[str, Overrides]
"""The points of an axis by their labels, in order. A label that is a number is also a place on an x axis."""

Labels = Mapping[str, str]
"""One point of each axis, by the axis's name."""

Bounds = tuple[float, float]
"""The lowest and the highest that a number can be."""

ANY_NUMBER: Final[Bounds] = (-math.inf, math.inf)
NOT_NEGATIVE: Final[Bounds] = (0.0, math.inf)
SHARE: Final[Bounds] = (0.0, 1.0)
"""Of accuracies."""


def over(field: str, *values: Any) -> Axis:
    """An axis over one field, labelled by its values: `over("loss.policy", "im", "it")`."""
    return {str(value): {field: value} for value in values}


class Better(enum.Enum):
    """Which values of a measure one hopes for."""

    LOWER = "lower is better"
    HIGHER = "higher is better"
    NEITHER = ""


class Scale(enum.Enum):
    """How an x axis is divided; linear after all where a number that was measured is not above 0."""

    LINEAR = "linear"
    LOG = "log"


class Kind(enum.Enum):
    """How the measures of two axes are drawn."""

    LINES = "lines"
    """A line for each point of the series, over x."""
    HEAT_MAP = "heat map"
    """A field for each point of both, x to the right and series upwards, coloured by the mean over seeds."""


class KeepCheckpoints(enum.Enum):
    """Which checkpoints stay once a run has finished. A run that has not resumes from its own."""

    NONE = "none"
    ALL = "all"


@dataclass(frozen=True)
class Measure:
    """A number of a run's summary that the report shows."""

    name: str
    """Where it is in `summary.json`, joined by dots: `heldout.nll/assistant`."""
    title: str = ""
    """What the report calls it; empty: its name."""
    unit: str = ""
    better: Better = Better.NEITHER
    bounds: Bounds = ANY_NUMBER
    """What it can be. A figure shows no more of it, and all of it where both ends are finite."""

    @property
    def heading(self) -> str:
        """Title with what is in brackets behind it."""
        notes = ", ".join(filter(None, [self.unit, self.better.value]))
        return f"{self.title or self.name} ({notes})" if notes else self.title or self.name


@dataclass(frozen=True)
class Profile:
    """A row of numbers of each run, such as accuracy by number of occurrences.

    The report has a table and a figure of it. The figure has a line for each point of `Plot.series`, and
    panels for the other axes; without a series, a line for each combination of points.
    """

    title: str
    x: str
    """What the row goes along: `occurrences`."""
    points: Mapping[str, str]
    """Name in `summary.json` by label on the x axis: `{"5": "rewrites.unseen/occurrences_5"}`."""
    unit: str = ""
    better: Better = Better.NEITHER
    x_scale: Scale = Scale.LINEAR
    bounds: Bounds = ANY_NUMBER
    """What its numbers can be, as `Measure.bounds`."""

    @property
    def heading(self) -> str:
        """Title with what is in brackets behind it."""
        return Measure("", self.title, self.unit, self.better).heading

    def measures(self) -> list[Measure]:
        """The numbers of the row, each as a measure of its own."""
        return [
            Measure(name, f"{self.title}: {self.x} {label}", self.unit, self.better, self.bounds)
            for label, name in self.points.items()
        ]


@dataclass(frozen=True)
class Reference:
    """Numbers from elsewhere, drawn beside one's own."""

    title: str
    """Where they are from, down to the table or figure."""
    measure: str
    """Name of the measure, or title of the profile, that they are to be compared with."""
    points: Mapping[str, float]
    """Value by label of the x axis; where x is measured, by number on it."""
    series: str = ""
    """Label of the series that they belong to; empty: to none."""
    panel: Labels = field(default_factory=dict)
    """Points of axes that become panels, to be drawn in those alone: `{"examples": "100"}`; empty: in all."""


@dataclass(frozen=True)
class Plot:
    """How the figures are drawn; what is left of the axes becomes a panel for each point."""

    x: str
    """Name of an axis. Its points are drawn at their labels if all are numbers, else side by side."""
    series: str = ""
    """Name of the axis that has a line, or a row of fields, for each point; empty: one line. Two points are
    compared in pairs."""
    x_scale: Scale = Scale.LINEAR
    references: Sequence[Reference] = ()
    x_measure: Measure | None = None
    """A number of the runs that points of `x` are drawn at, its mean over seeds; None: at their labels."""
    kind: Kind = Kind.LINES
    """Of the figures of measures. Fields of a heat map are all as wide, so `x_scale` is linear."""


@dataclass(frozen=True)
class Comparison:
    """Two points of an axis whose runs are compared seed by seed: the first minus the second."""

    axis: str
    first: str
    second: str


@dataclass(frozen=True)
class Gain:
    """What the first of two settings gains over the second, in per cent of the second, along ln(x).

    The figure has the least-squares line through the means, and a published one beside it.
    """

    measure: str
    """Name of a measure that is never negative."""
    x: str
    """Name of an axis. Without `x_measure` its labels are numbers above 0."""
    x_measure: Measure | None = None
    """A number of the runs, above 0, that points are at: its mean over the runs of both settings."""
    comparison: Comparison | None = None
    """None: the only one of the sweep."""
    fit: Fit | None = None
    """A published line, drawn over what it was fitted to."""

    @property
    def x_title(self) -> str:
        """What the x axis is called."""
        return self.x_measure.heading if self.x_measure else self.x


@dataclass(frozen=True)
class StopEarly:
    """When a comparison needs no more seeds: `im_jax.evaluation.statistics.sequential` has the rule."""

    measure: str
    """Name of the measure that settles it."""
    level: float = 0.05
    """The probability that a comparison of two settings is settled wrongly, over all looks at it."""
    first: int = 3
    """Pairs of runs before the first look."""
    margin: float | None = None
    """A difference of less is of no interest, and settled when it is known to be smaller; None: only its
    sign settles it."""


def every_cell(_: Labels) -> bool:
    """The whole product of the axes."""
    return True


@dataclass(frozen=True)
class Sweep:
    """A grid of runs: every combination of a point of each axis, with every seed."""

    title: str
    base: Config
    """A valid configuration, which the axes change."""
    axes: Mapping[str, Axis]
    measures: Sequence[Measure]
    seeds: Sequence[int] = (0,)
    seed_fields: Sequence[str] = ("seed",)
    """What a seed sets. With `data.seed`, another choice of examples too."""
    description: str = ""
    """Markdown for the head of the report."""
    plot: Plot | None = None
    """None: no figures."""
    where: Callable[[Labels], bool] = every_cell
    """Which combinations are run: all for which this is true."""
    keep_checkpoints: KeepCheckpoints = KeepCheckpoints.NONE
    profiles: Sequence[Profile] = ()
    comparisons: Sequence[Comparison] = ()
    """Empty: of the two points of the plot's series, if it has two."""
    gains: Sequence[Gain] = ()
    stop: StopEarly | None = None
    """Runs are left out whose comparisons are all settled; None: all are run."""
    evaluations: Evaluations = field(default_factory=dict)
    """What is asked of the model of each finished run, by name; measures of it are `NAME.FIGURE`."""

    def every_measure(self) -> list[Measure]:
        """All numbers of a run that the report needs, each once: measures, the x of the plot, profiles."""
        x = [self.plot.x_measure] if self.plot and self.plot.x_measure else []
        x += [gain.x_measure for gain in self.gains if gain.x_measure]
        row = [measure for profile in self.profiles for measure in profile.measures()]
        by_name: dict[str, Measure] = {}
        for measure in [*self.measures, *x, *row]:
            by_name.setdefault(measure.name, measure)
        return list(by_name.values())

    def every_comparison(self) -> list[Comparison]:
        """Those that are named, or that of the series."""
        if self.comparisons:
            return list(self.comparisons)
        axis = self.plot.series if self.plot else ""
        if not axis or len(self.axes[axis]) != 2:
            return []
        first, second = self.axes[axis]
        return [Comparison(axis, first, second)]

    def compared_by(self, gain: Gain) -> Comparison:
        """The comparison that a gain is of."""
        return gain.comparison or self.every_comparison()[0]

    def measure(self, name: str) -> Measure:
        """A measure of the runs by its name."""
        return next(measure for measure in self.measures if measure.name == name)


def number(label: str) -> float | None:
    """A label as a number, if it is one."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
