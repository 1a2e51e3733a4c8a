"""Mean and standard deviation over seeds, and differences between pairs that share a seed."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from im_jax.evaluation.statistics.intervals import Interval, student, two_sided
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import Comparison, Labels, Measure, Sweep
from im_jax.sweeps.evaluated import with_figures
from im_jax.sweeps.evaluations import NO_EVALUATIONS, Evaluations
from im_jax.sweeps.results import Result, ResultsFile, Status


class Statistic(NamedTuple):
    """Of one number over seeds."""

    n: int
    mean: float | None
    """None where there is no number."""
    sd: float | None
    """Of a sample, with n - 1 in the denominator; None below two numbers."""


@dataclass(frozen=True)
class Group:
    """The runs of one combination of points, over seeds."""

    labels: Labels
    results: Mapping[int, Result | None]
    """By seed; None where the run has not ended yet."""

    def finished(self) -> dict[int, Result]:
        """The runs that finished, by seed."""
        rows = self.results.items()
        return {seed: row for seed, row in rows if row is not None and row.status is Status.FINISHED}

    def statistic(self, measure: Measure) -> Statistic:
        """Of the runs that finished and have the number."""
        values = [measured(result, measure) for result in self.finished().values()]
        return statistic([value for value in values if value is not None])


class Verdict(NamedTuple):
    """Of a difference over seeds."""

    interval: Interval
    """95 %, by Student's t with n - 1 degrees of freedom: the pairs of seeds are the units."""
    p: float
    """Two-sided, of no difference."""


@dataclass(frozen=True)
class Pairs:
    """Two combinations that differ in one axis alone, compared seed by seed."""

    comparison: Comparison
    labels: Labels
    """The points that both share."""
    first: Group
    second: Group

    def values(self, measure: Measure) -> dict[int, tuple[float, float]]:
        """Of both by seed, in order, for seeds that both have."""
        first, second = self.first.finished(), self.second.finished()
        found = {
            seed: (measured(first[seed], measure), measured(second[seed], measure))
            for seed in first
            if seed in second
        }
        return {
            seed: (one, other)
            for seed, (one, other) in found.items()
            if one is not None and other is not None
        }

    def ended(self) -> list[int]:
        """Seeds up to the first of which a run has not ended, in order."""
        both = ((seed, row, self.second.results.get(seed)) for seed, row in self.first.results.items())
        return [
            seed for seed, *_ in itertools.takewhile(lambda found: None not in (found[1], found[2]), both)
        ]

    def statistic(self, measure: Measure) -> Statistic:
        """Of the first minus the second, over seeds that both have."""
        return statistic([one - other for one, other in self.values(measure).values()])

    def verdict(self, measure: Measure) -> Verdict | None:
        """What the difference is worth; None below two pairs."""
        return verdict(self.statistic(measure))

    def same_data(self) -> bool:
        """Whether in each pair both saw the same examples."""
        first, second = self.first.finished(), self.second.finished()
        return all(
            first[seed].summary.get("fingerprint") == second[seed].summary.get("fingerprint")
            for seed in first.keys() & second.keys()
        )


def measured(result: Result, measure: Measure) -> float | None:
    """A measure of a run; None if the run has no such number."""
    value = result.summary.get(measure.name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def statistic(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation."""
    if not values:
        return Statistic(0, None, None)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Statistic(len(values), float(np.mean(values)), sd)


def verdict(found: Statistic) -> Verdict | None:
    """What a mean of pairs is worth; None below two of them."""
    if found.mean is None or found.sd is None:
        return None
    stderr = found.sd / math.sqrt(found.n)
    return Verdict(student(found.mean, stderr, found.n - 1), two_sided(found.mean, stderr, found.n - 1))


def group(
    cells: Sequence[Cell], results: ResultsFile, evaluations: Evaluations = NO_EVALUATIONS
) -> list[Group]:
    """Cells over their seeds, in the order of the first seed."""
    found: dict[tuple[str, ...], tuple[Labels, dict[int, Result | None]]] = {}
    for cell in cells:
        _, by_seed = found.setdefault(tuple(cell.labels.values()), (cell.labels, {}))
        result = results.get(cell.hash)
        by_seed[cell.seed] = None if result is None else with_figures(result, evaluations)
    return [Group(labels, by_seed) for labels, by_seed in found.values()]


def pair(sweep: Sweep, groups: Sequence[Group]) -> list[Pairs]:
    """Pairs of each comparison of a sweep, in order."""
    by_labels = {tuple(g.labels.items()): g for g in groups}
    pairs = []
    for comparison in sweep.every_comparison():
        axis = comparison.axis
        for one in (g for g in groups if g.labels[axis] == comparison.first):
            other = by_labels.get(tuple({**one.labels, axis: comparison.second}.items()))
            if other is not None:
                shared = {name: label for name, label in one.labels.items() if name != axis}
                pairs.append(Pairs(comparison, shared, one, other))
    return pairs
