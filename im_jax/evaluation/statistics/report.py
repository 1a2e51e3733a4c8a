"""Comparisons of runs, as a table and as JSON."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from im_jax.errors import ConfigError
from im_jax.evaluation.results import Kind, Score, read_scores
from im_jax.evaluation.statistics.intervals import holm
from im_jax.evaluation.statistics.paired import Difference, Run, compare


class Comparison(NamedTuple):
    """Two sets of runs."""

    first: str
    second: str
    differences: Sequence[Difference]
    corrected: Sequence[float]
    """p-values by Holm, over all tasks of all comparisons; NaN for means over tasks."""
    left_out: Mapping[str, str]
    """Scores that are in both and were not compared, and why."""


def compare_all(methods: Mapping[str, Sequence[pathlib.Path]]) -> list[Comparison]:
    """Compare the first method with each other one, score by score.

    Args:
        methods: folders by name, a folder a seed.

    Raises:
        UserError: the folders cannot be read, have no score in common, or were asked with different prompts.
    """
    (first, folders), *others = methods.items()
    found = [(name, *_compared(folders, other)) for name, other in others]
    means = {score.name for score in read_scores(folders[0]) if score.kind is Kind.MEAN}
    corrected = iter(
        holm([each.p for _, differences, _ in found for each in differences if each.name not in means])
    )
    return [
        Comparison(
            first,
            name,
            differences,
            [math.nan if each.name in means else next(corrected) for each in differences],
            left_out,
        )
        for name, differences, left_out in found
    ]


def _compared(
    firsts: Sequence[pathlib.Path], seconds: Sequence[pathlib.Path]
) -> tuple[list[Difference], dict[str, str]]:
    scores = {folder: _asked_for(folder) for folder in (*firsts, *seconds)}
    common = [key for key in scores[firsts[0]] if all(key in each for each in scores.values())]
    differences, left_out = [], {}
    for key in common:
        sides = ([Run(folder, scores[folder][key]) for folder in folders] for folders in (firsts, seconds))
        difference = compare(*sides)
        if difference is None:
            left_out[" ".join(key)] = "it is no sum over items"
        else:
            differences.append(difference)
    if not common:
        raise ConfigError(f"{firsts[0]} and {seconds[0]} have no score in common; evaluate the same tasks")
    return differences, left_out


def _asked_for(folder: pathlib.Path) -> dict[tuple[str, str], Score]:
    """Scores by name and metric, without those that are only parts of others."""
    return {(s.name, s.metric): s for s in read_scores(folder) if s.kind is not Kind.PART}


def as_table(comparison: Comparison) -> Table:
    """A line a score; differences of error rates keep their sign."""
    table = Table(title=f"{comparison.second} minus {comparison.first}, on the same items")
    names = (
        "score",
        "metric",
        "items",
        "first",
        "second",
        "difference",
        "95 %",
        "p",
        "p (Holm)",
        "test",
        "detectable",
    )
    for name in names:
        table.add_column(name, justify="left" if name in ("score", "metric", "test") else "right")
    for each, corrected in zip(comparison.differences, comparison.corrected, strict=True):
        items = f"{each.items:,}" if each.items == each.clusters else f"{each.items:,} in {each.clusters:,}"
        table.add_row(
            *(each.name, each.metric, items),
            *(f"{each.first:.4f}", f"{each.second:.4f}", f"{each.value:+.4f}"),
            f"{each.interval.low:+.4f} to {each.interval.high:+.4f}",
            *(
                f"{each.p:.3g}",
                "" if math.isnan(corrected) else f"{corrected:.3g}",
                each.test,
                f"{each.detectable:.4f}",
            ),
        )
    seeds = {each.seeds for each in comparison.differences}
    if all(min(pair) < 2 for pair in seeds):
        table.caption = "one run each: the intervals are over items, and say nothing of other seeds"
    else:
        table.caption = "intervals are over items and seeds"
    return table


def as_record(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """For JSON; what is no number is null."""
    return [
        {
            "first": comparison.first,
            "second": comparison.second,
            "differences": [
                _finite(each._asdict() | {"p_holm": corrected})
                for each, corrected in zip(comparison.differences, comparison.corrected, strict=True)
            ],
            "left_out": dict(comparison.left_out),
        }
        for comparison in comparisons
    ]


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
