"""Intervals and p-values from estimates: few items exactly, many by the normal, seeds by Student's t."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

LEVEL: Final = 0.95
POWER: Final = 0.8
FEW: Final = 300
"""Items below which a rate's normal interval is not to be trusted (arXiv:2503.01747)."""


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def normal(value: float, stderr: float) -> Interval:
    """value +- 1.96 stderr, at the level of 95 %."""
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * stderr
    return Interval(value - half, value + half)


def wilson(successes: float, trials: int) -> Interval:
    """Wilson's interval of a rate, which stays within [0, 1] and holds for few trials (Wilson 1927)."""
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    rate, added = successes / trials, z * z / trials
    middle = (rate + added / 2) / (1 + added)
    half = z / (1 + added) * math.sqrt(rate * (1 - rate) / trials + added / (4 * trials))
    return Interval(middle - half, middle + half)


def student(value: float, stderr: float, freedom: float) -> Interval:
    """value +- t stderr."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * stderr
    return Interval(value - half, value + half)


def two_sided(value: float, stderr: float, freedom: float = math.inf) -> float:
    """p of a difference that is no different from 0; 1 where nothing differs at all."""
    if stderr == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stats.t.sf(abs(value / stderr), freedom))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test on the items that only one of two got right."""
    if not only_first + only_second:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def detectable(stderr: float, freedom: float = math.inf) -> float:
    """The smallest true difference that a test at 5 % would have found in 80 % of such experiments."""
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)
    return float(reach * stderr)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's steps (1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]
