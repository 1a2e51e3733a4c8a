"""What a reader is shown of an evaluation: scores with intervals, and the paper's list with its means."""

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table

from im_jax.evaluation.harness import paper
from im_jax.evaluation.results import Kind, Score
from im_jax.evaluation.statistics.intervals import FEW, Interval, normal, wilson

_MISSING: Final = "missing"
_MOST_PARTS: Final = 12
"""More lines of parts than this would hide what was asked for."""


def interval(score: Score, *, is_rate: bool) -> Interval | None:
    """At 95 %, over items: Wilson's for a rate of few, else the normal one; None without standard error."""
    if is_rate and score.items < FEW:
        return wilson(score.value * score.items, score.items)
    return None if score.stderr is None else normal(score.value, score.stderr)


def scores_table(scores: list[Score], rates: set[tuple[str, str]], shots: Mapping[str, int]) -> Table:
    """A line a score that was asked for, indented ones for the parts of what was.

    Args:
        scores: in order.
        rates: names and metrics of scores that are shares of independent items.
        shots: examples in prompts, by task.
    """
    table = Table(title="Scores")
    for name in ("task", "metric", "shots", "items", "score", "95 %"):
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    parts = sum(score.kind is Kind.PART for score in scores)
    if parts > _MOST_PARTS:
        table.caption = f"results.json has {parts} more, of which these are made"
    for score in scores:
        if score.kind is Kind.MEAN or (score.kind is Kind.PART and parts > _MOST_PARTS):
            continue
        found = interval(score, is_rate=(score.name, score.metric) in rates)
        own = {shots[part.task] for part in score.parts if part.task in shots}
        table.add_row(
            f"  {score.name}" if score.kind is Kind.PART else score.name,
            f"{score.metric}{'' if score.higher_is_better else ' (less is better)'}",
            ", ".join(map(str, sorted(own))),
            f"{score.items:,}",
            f"{score.value:.4f}",
            "" if found is None else f"{found.low:.4f} to {found.high:.4f}",
        )
    return table


def paper_table(told: Mapping[str, Any]) -> Table:
    """The paper's list by category, in percent as the paper has it; what is missing is so."""
    table = Table(title=f"{paper.NAME}: the tasks of arXiv:2405.14394, in percent")
    table.add_column("category")
    table.add_column("task")
    table.add_column("score", justify="right")
    for category, entry in told["categories"].items():
        for number, (name, value) in enumerate(entry["entries"].items()):
            table.add_row("" if number else category, name, _percent(value))
        table.add_row("", "mean", _mean(entry))
        table.add_section()
    for name in paper.MEANS:
        table.add_row(name, "", _mean(told[name]))
    if told["missing"]:
        count = len(paper.ENTRIES) - len(told["missing"])
        table.caption = f"{count} of {len(paper.ENTRIES)} entries; (in brackets: means of what is there)"
    return table


def _mean(entry: Mapping[str, Any]) -> str:
    if entry["value"] is not None or entry["of_what_is_there"] is None:
        return _percent(entry["value"])
    return f"{_MISSING} ({_percent(entry['of_what_is_there'])})"


def _percent(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:.2f}"
