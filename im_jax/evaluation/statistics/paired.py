"""Two sets of runs compared on the same items: differences item by item, then over seeds.

Items are paired by number, and only where the prompt was the same to the letter. Runs of several seeds are
paired in the order given, where there are as many of both. The variance of a difference has two parts: that
of the choice of items, from the differences averaged over seeds, and that of the choice of seeds, from the
differences of each seed. They are added, and the degrees of freedom are those of Welch and Satterthwaite.
"""

import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from im_jax.errors import DataError
from im_jax.evaluation.items import Item, read_items
from im_jax.evaluation.results import Part, Score
from im_jax.evaluation.statistics.estimates import Sample, clustered, influences
from im_jax.evaluation.statistics.intervals import Interval, detectable, mcnemar, student, two_sided


class Difference(NamedTuple):
    """How a score of a second set of runs differs from that of a first."""

    name: str
    metric: str
    first: float
    """Mean over the seeds of the first."""
    second: float
    value: float
    """Second minus first."""
    stderr: float
    interval: Interval
    """95 %, of the choice of items and, where there are several, of seeds."""
    p: float
    test: str
    """`McNemar`, exact, where items are independent, right or wrong, and of one seed; else `paired z` or
    `paired t`."""
    detectable: float
    """The smallest true difference that would have been found in 80 % of such comparisons."""
    items: int
    clusters: int
    seeds: tuple[int, int]


@dataclass(frozen=True)
class Side:
    """One of the two sets of runs."""

    samples: list[list[Sample]]
    """Items of each part of the score, of each seed: `samples[seed][part]`, the same items for all seeds."""

    @property
    def values(self) -> list[float]:
        """The score of each seed."""
        return [sum(sample.weight * sample.value for sample in each) for each in self.samples]

    def influence(self) -> np.ndarray:
        """Influence of each item of each part in turn, averaged over seeds."""
        return np.mean([np.concatenate([influences(s) for s in each]) for each in self.samples], axis=0)

    def clusters(self) -> list[str]:
        """Of each item of each part in turn."""
        return [name for sample in self.samples[0] for name in sample.clusters]


class Run(NamedTuple):
    """A run of one seed."""

    folder: pathlib.Path
    score: Score
    """That is compared, with the parts that it has in this folder."""


def compare(firsts: Sequence[Run], seconds: Sequence[Run]) -> Difference | None:
    """The difference of a score between two sets of runs.

    Returns:
        None if the score is none of sums over items.

    Raises:
        DataError: the folders lack items, or were asked with other items or prompts.
    """
    first = firsts[0]
    reference = {part.task: read_items(first.folder, part.task) for part in first.score.parts}
    sides = []
    for runs in (firsts, seconds):
        samples = []
        for folder, score in runs:
            if {part.task for part in score.parts} != reference.keys():
                raise DataError(f"{score.name}: {first.folder} and {folder} make it of different tasks")
            found = [_sample(folder, first.folder, part, reference[part.task]) for part in score.parts]
            known = [sample for sample in found if sample is not None]
            value = sum(sample.weight * sample.value for sample in known)
            # A perplexity has logarithms in its items.
            if len(known) < len(found) or not math.isclose(value, score.value, rel_tol=1e-6, abs_tol=1e-6):
                return None
            samples.append(known)
        sides.append(Side(samples))
    return difference(first.score, *sides)


def difference(score: Score, first: Side, second: Side) -> Difference:
    """The difference of a score, on the same items in the same order."""
    first_values, second_values = first.values, second.values
    means = float(np.mean(first_values)), float(np.mean(second_values))
    value = means[1] - means[0]
    names = first.clusters()
    of_items = clustered(second.influence() - first.influence(), names)
    of_seeds, freedom = _seeds(first_values, second_values)
    stderr = math.hypot(of_items, of_seeds)
    # Items are many, so that their part has as good as endless degrees of freedom.
    freedom = freedom * (stderr / of_seeds) ** 4 if of_seeds else math.inf
    p, test = two_sided(value, stderr, freedom), "paired t" if of_seeds else "paired z"
    one_each = len(first_values) == len(second_values) == 1
    if one_each and (counts := _discordant(first, second, names)) is not None:
        p, test = mcnemar(*counts), "McNemar"
    return Difference(
        *(score.name, score.metric, *means, value, stderr),
        interval=student(value, stderr, freedom),
        p=p,
        test=test,
        detectable=detectable(stderr, freedom),
        items=len(names),
        clusters=len(set(names)),
        seeds=(len(first_values), len(second_values)),
    )


def _seeds(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Standard error over seeds, and its degrees of freedom; 0 where there is one seed."""
    counts = len(first), len(second)
    if min(counts) < 2:
        return 0.0, math.inf
    if counts[0] == counts[1]:
        return float(np.std(np.subtract(second, first), ddof=1)) / math.sqrt(counts[0]), counts[0] - 1
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    spread = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    return math.sqrt(sum(parts)), sum(parts) ** 2 / spread if spread else math.inf


def _discordant(first: Side, second: Side, clusters: list[str]) -> tuple[int, int] | None:
    """How many items each alone got right; None where items are not independent, or not right or wrong."""
    weights = {s.weight / s.denominators.sum() for s in first.samples[0]}
    if len(set(clusters)) < len(clusters) or max(weights) - min(weights) > 1e-9 * max(weights):
        return None
    answers = [np.concatenate([s.numerators for s in side.samples[0]]) for side in (first, second)]
    units = [np.concatenate([s.denominators for s in side.samples[0]]) for side in (first, second)]
    if not all(np.isin(a, (0, 1)).all() for a in answers) or not all((u == 1).all() for u in units):
        return None
    return int(np.sum(answers[0] > answers[1])), int(np.sum(answers[1] > answers[0]))


def _sample(
    folder: pathlib.Path, first: pathlib.Path, part: Part, reference: Sequence[Item]
) -> Sample | None:
    """A folder's items of one part of a score, held to those of the first folder."""
    items = reference if folder == first else read_items(folder, part.task)
    _check_same(part.task, first, reference, folder, items)
    pairs = [item.part(part.metric) for item in items]
    found = [pair for pair in pairs if pair is not None]
    if not found or len(found) < len(pairs):
        return None
    columns = np.asarray(found, np.float64).T
    return Sample(columns[0], columns[1], [item.cluster for item in items], part.weight)


def _check_same(
    task: str, first: pathlib.Path, expected: Sequence[Item], folder: pathlib.Path, items: Sequence[Item]
) -> None:
    """Stop at items or prompts that differ."""
    ids = [item.doc_id for item in expected], [item.doc_id for item in items]
    if ids[0] != ids[1]:
        odd = min(set(ids[0]) ^ set(ids[1]))
        raise DataError(
            f"{task}: {first} has {len(ids[0])} items and {folder} has {len(ids[1])}; item {odd} is in one "
            "of them alone; evaluate both with the same data and --limit"
        )
    for a, b in zip(expected, items, strict=True):
        if a.prompt_hash != b.prompt_hash:
            raise DataError(
                f"{task}: {first} and {folder} were given different prompts, as for item {a.doc_id}; "
                "evaluate both with the same data, shots and chat template"
            )
