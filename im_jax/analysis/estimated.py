"""Numbers of a run that are estimated over items, so that two runs can be compared item by item."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from im_jax.analysis.bleu import Bleu, percentiles
from im_jax.evaluation.results import Score
from im_jax.evaluation.statistics.estimates import Estimate, Sample, estimate
from im_jax.evaluation.statistics.intervals import Interval, detectable, student, wilson
from im_jax.evaluation.statistics.paired import Difference, Side, difference


@dataclass(frozen=True)
class Measure(abc.ABC):
    """A number of a run."""

    title: str
    unit: str

    @abc.abstractmethod
    def estimate(self) -> Estimate:
        """Its value and standard error."""

    @abc.abstractmethod
    def interval(self) -> Interval | None:
        """95 %, over the choice of items; None where there is one item alone."""

    @abc.abstractmethod
    def items(self) -> list[Sequence[str]]:
        """What each item is of: only numbers of the same items can be paired."""

    @abc.abstractmethod
    def to(self, other: "Measure", name: str) -> Difference:
        """How another run's differs, on the same items."""

    def as_record(self) -> dict[str, Any]:
        """For JSON: value, standard error, interval, and how many items there are."""
        value, stderr, items, clusters = self.estimate()
        interval = self.interval()
        return {
            "title": self.title,
            "unit": self.unit,
            "value": value,
            "stderr": None if math.isnan(stderr) else stderr,
            "interval": None if interval is None else list(interval),
            "items": items,
            "clusters": clusters,
        }


@dataclass(frozen=True)
class Ratio(Measure):
    """A weighted sum of ratios of sums over items, such as a mean."""

    samples: list[Sample]

    def estimate(self) -> Estimate:
        return estimate(self.samples)

    def interval(self) -> Interval | None:
        value, stderr, items, _ = self.estimate()
        if self._is_rate():
            return wilson(value * items, items)
        return None if math.isnan(stderr) else student(value, stderr, math.inf)

    def _is_rate(self) -> bool:
        """Whether it is a share of items that are right or wrong: Wilson's interval holds for few of them."""
        return all(
            np.isin(sample.numerators, (0, 1)).all() and (sample.denominators == 1).all()
            for sample in self.samples
        )

    def items(self) -> list[Sequence[str]]:
        return [list(sample.clusters) for sample in self.samples]

    def to(self, other: Measure, name: str) -> Difference:
        assert isinstance(other, Ratio)
        found = self.estimate()
        score = Score(name, self.unit, found.value, found.stderr, found.items, ())
        return difference(score, Side([self.samples]), Side([other.samples]))


@dataclass(frozen=True)
class BleuOfAnswers(Measure):
    """Corpus BLEU, which is no mean of anything over answers: they are drawn again and again instead."""

    bleu: Bleu
    ids: list[str]

    def estimate(self) -> Estimate:
        answers = len(self.ids)
        spread = float(self.bleu.resampled().std(ddof=1)) if answers > 1 else math.nan
        return Estimate(self.bleu.value, spread, answers, answers)

    def interval(self) -> Interval | None:
        return self.bleu.interval() if len(self.ids) > 1 else None

    def items(self) -> list[Sequence[str]]:
        return [self.ids]

    def to(self, other: Measure, name: str) -> Difference:
        """By the same draws of both.

        p is that of Riezler and Maxwell (2005): draws as far from their mean as the difference is from 0.
        """
        assert isinstance(other, BleuOfAnswers)
        drawn = other.bleu.resampled() - self.bleu.resampled()
        values = self.bleu.value, other.bleu.value
        value, stderr = values[1] - values[0], float(drawn.std(ddof=1))
        as_far = int(np.sum(np.abs(drawn - drawn.mean()) >= abs(value)))
        return Difference(
            *(name, self.unit, *values, value, stderr),
            interval=percentiles(drawn),
            p=(as_far + 1) / (len(drawn) + 1),
            test="paired bootstrap",
            detectable=detectable(stderr),
            items=len(self.ids),
            clusters=len(self.ids),
            seeds=(1, 1),
        )
