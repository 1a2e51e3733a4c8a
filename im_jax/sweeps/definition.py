"""What a sweep is: a base configuration, axes over it, seeds, what is measured, and how it is drawn.

A file in `configs/sweeps/` returns a `Sweep` from `get_sweep()`. `im_jax.sweeps.checks` checks it.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from im_jax.config import Config

Overrides = Mapping[str, Any]
"""Fields of a configuration and their values: `{"loss.policy": "im"}`."""

Axis = Mapping[str, Overrides]
"""The points of an axis by their labels, in order. A label that is a number is also a place on an x axis."""

Labels = Mapping[str, str]
"""One point of each axis, by the axis's name."""


def over(field: str, *values: Any) -> Axis:
    """An axis over one field, labelled by its values: `over("loss.policy", "im", "it")`."""
    return {str(value): {field: value} for value in values}


class Better(enum.Enum):
    """Which values of a measure one hopes for."""

    LOWER = "lower is better"
    HIGHER = "higher is better"
    NEITHER = ""


class Scale(enum.Enum):
    """How an x axis is divided."""

    LINEAR = "linear"
    LOG = "log"


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

    @property
    def heading(self) -> str:
        """Title with what is in brackets behind it."""
        notes = ", ".join(filter(None, [self.unit, self.better.value]))
        return f"{self.title or self.name} ({notes})" if notes else self.title or self.name


@dataclass(frozen=True)
class Reference:
    """Numbers from elsewhere, drawn beside one's own."""

    title: str
    """Where they are from, down to the table or figure."""
    measure: str
    """Name of the measure that they are to be compared with."""
    points: Mapping[str, float]
    """Value by label of the x axis."""
    series: str = ""
    """Label of the series that they belong to; empty: to none."""


@dataclass(frozen=True)
class Plot:
    """How the figures are drawn; what is left of the axes becomes a panel for each point."""

    x: str
    """Name of an axis. Its points are drawn at their labels if all are numbers, else side by side."""
    series: str = ""
    """Name of the axis that has a line for each point; empty: one line. Two points are compared in pairs."""
    x_scale: Scale = Scale.LINEAR
    references: Sequence[Reference] = ()


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


def number(label: str) -> float | None:
    """A label as a number, if it is one."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
