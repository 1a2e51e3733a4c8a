"""Scores with standard errors over items, also where items come in clusters and a score is made of several.

A score is a weighted sum of ratios of sums, sum of w_k * (sum of a_i) / (sum of b_i); a mean has b_i = 1. An
item's influence is what the score would change, to first order, with that item's weight; the variance of the
score is the sum over clusters of the squared sum of their influences (Miller, arXiv:2411.00640, clustered
standard errors). Clusters may reach over several tasks, such as translations of one text.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jaxtyping as jt
import numpy as np


class Sample(NamedTuple):
    """The items of one task, as a metric sees them."""

    numerators: jt.Float64[np.ndarray, " N"]
    denominators: jt.Float64[np.ndarray, " N"]
    clusters: Sequence[str]
    weight: float = 1.0
    """In the score."""

    @property
    def value(self) -> float:
        """The metric of this task alone."""
        return float(self.numerators.sum() / self.denominators.sum())


class Estimate(NamedTuple):
    """A score and how far chance in the choice of items may move it."""

    value: float
    stderr: float
    """NaN where there is one cluster alone."""
    items: int
    clusters: int


def influences(sample: Sample) -> jt.Float64[np.ndarray, " N"]:
    """Each item's influence on the score; their sum is 0.

    Enlarged by sqrt(C / (C - 1)) for C clusters, which makes the standard error of a mean of independent
    items that of the textbook, with n - 1.
    """
    total = sample.denominators.sum()
    free = len(set(sample.clusters)) - 1
    enlarged = np.sqrt((free + 1) / free) if free else np.nan
    return sample.weight * enlarged * (sample.numerators - sample.value * sample.denominators) / total


def estimate(samples: Sequence[Sample]) -> Estimate:
    """The score that samples make, by their weights."""
    names = list(itertools.chain.from_iterable(sample.clusters for sample in samples))
    each = np.concatenate([influences(sample) for sample in samples])
    return Estimate(
        value=sum(sample.weight * sample.value for sample in samples),
        stderr=clustered(each, names),
        items=len(each),
        clusters=len(set(names)),
    )


def clustered(each: jt.Float64[np.ndarray, " N"], clusters: Sequence[str]) -> float:
    """Square root of the sum over clusters of the squared sum of their items' influences."""
    _, where = np.unique(np.asarray(clusters), return_inverse=True)
    return float(np.sqrt(np.sum(np.bincount(where, weights=each) ** 2)))
