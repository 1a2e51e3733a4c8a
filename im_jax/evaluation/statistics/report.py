"""Comparisons of runs, as a table and as JSON."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from im_jax.errors import ConfigError
from im_jax.evaluation.results import Score, read_scores
from im_jax.evaluation.statistics.intervals import holm
from im_jax.evaluation.statistics.paired import Difference, compare


class Comparison(NamedTuple):
    """Two sets of runs."""

    first: str
    second: str
    differences: Sequence[Difference]
    corrected: Sequence[float]
    """p-values by Holm, over all differences of all comparisons."""
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
    scores = read_scores(folders[0])
    found = [(name, *_compared(folders, other, scores)) for name, other in others]
    corrected = iter(holm([each.p for _, differences, _ in found for each in differences]))
    return [
        Comparison(first, name, differences, [next(corrected) for _ in differences], left_out)
        for name, differences, left_out in found
    ]


def _compared(
    firsts: Sequence[pathlib.Path], seconds: Sequence[pathlib.Path], scores: Sequence[Score]
) -> tuple[list[Difference], dict[str, str]]:
    common = set.intersection(
        *({(s.name, s.metric) for s in read_scores(folder)} for folder in (*firsts, *seconds))
    )
    differences, left_out = [], {}
    for score in scores:
        if (score.name, score.metric) not in common:
            continue
        difference = compare(score, firsts, seconds)
        if difference is None:
            left_out[f"{score.name} {score.metric}"] = "no sum over items"
        else:
            differences.append(difference)
    if not common:
        raise ConfigError(f"{firsts[0]} and {seconds[0]} have no score in common; evaluate the same tasks")
    return differences, left_out


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
            *(f"{each.p:.3g}", f"{corrected:.3g}", each.test, f"{each.detectable:.4f}"),
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
