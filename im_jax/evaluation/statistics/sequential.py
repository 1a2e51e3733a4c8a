"""A difference that is looked at again after each pair of runs: intervals that hold over all looks together.

The level is spent over the looks (Lan and DeMets 1983, Biometrika 70, 659-663) by the power family of Kim and
DeMets (1987, Biometrika 74, 149-154): after n of N pairs, level * (n / N)^2 of it. Each look has Student's
interval at the level that it may spend. By Bonferroni's inequality the true difference is in all of them with
a probability of 1 - level at least, so that one may stop at any of them, for whatever is seen. Boundaries
from the joint distribution of looks would be a little narrower, but are for known variances or many pairs.

Differences are taken as normal, as by any t test of few pairs.
"""

import enum
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from im_jax.evaluation.statistics.intervals import Interval

POWER: Final = 2.0
"""Of the spending function: 1 spends evenly, 3 nearly all at the end."""


class How(enum.Enum):
    """What an interval settles."""

    ABOVE = "above 0"
    BELOW = "below 0"
    ALIKE = "smaller than the margin"


@dataclass(frozen=True)
class Looks:
    """When one looks, and what may be spent."""

    planned: int
    """Pairs at the last look."""
    first: int = 3
    """Pairs at the first look, two or more."""
    level: float = 0.05
    """The probability that any interval misses the true difference."""

    def spent(self, pairs: int) -> float:
        """What may be spent up to a look."""
        return self.level * (pairs / self.planned) ** POWER if pairs >= self.first else 0.0

    def interval(self, values: Sequence[float]) -> Interval:
        """Of the mean, at the look after these differences."""
        n = len(values)
        half = _quantile(n - 1, self.spent(n) - self.spent(n - 1)) * float(np.std(values, ddof=1)) / n**0.5
        mean = float(np.mean(values))
        return Interval(mean - half, mean + half)


class Settled(NamedTuple):
    """The first look at which a difference was settled."""

    pairs: int
    mean: float
    interval: Interval
    how: How


def settled(values: Sequence[float], looks: Looks, margin: float | None = None) -> Settled | None:
    """The first look at which the sign of a difference was known, or that it is smaller than a margin.

    Args:
        values: differences in the order in which they came; those behind `looks.planned` do not count.
        looks: when one looked.
        margin: below it a difference is of no interest; None: only the sign settles it.

    Returns:
        None if it was not settled. Differences that are all the same settle nothing: their spread is unknown.
    """
    for n in range(looks.first, min(len(values), looks.planned) + 1):
        seen = values[:n]
        if len(set(seen)) == 1:
            continue
        interval = looks.interval(seen)
        if how := _how(interval, margin):
            return Settled(n, float(np.mean(seen)), interval, how)
    return None


def _how(interval: Interval, margin: float | None) -> How | None:
    if interval.low > 0:
        return How.ABOVE
    if interval.high < 0:
        return How.BELOW
    alike = margin is not None and -margin < interval.low and interval.high < margin
    return How.ALIKE if alike else None


@functools.cache
def _quantile(freedom: int, level: float) -> float:
    return float(stats.t.isf(level / 2, freedom))
