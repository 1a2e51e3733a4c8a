"""AlpacaEval's figures from its annotations: how often a model's output is preferred to the reference's.

Dubois et al., "AlpacaFarm" (2023); version 1.0 has the judge `alpaca_eval_gpt4`, 2.0 the judge
`weighted_alpaca_eval_gpt4_turbo`. The length-controlled rate is fitted on the outputs of two baselines that
were made to game it, `df_gamed.csv` of the data set tatsu-lab/alpaca_eval; without it there is no such rate,
and one that is fitted without is another figure.
"""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from im_jax.errors import DataError
from im_jax.evaluation.judged.preferences import DRAW
from im_jax.evaluation.records import Item, read_records

LENGTH_CONTROLLED_NEEDS: Final = "df_gamed.csv (Hugging Face: tatsu-lab/alpaca_eval)"
OTHER_ORDER: Final = "preference_other_order"
"""Field of an annotation: the preference where the outputs were shown the other way round."""
_FIELDS: Final = {
    "instruction": str,
    "output_1": str,
    "output_2": str,
    "generator_1": str,
    "generator_2": str,
}


class Annotation(NamedTuple):
    """A judge's word on one instruction."""

    instruction: str
    reference: str
    """The reference's output."""
    output: str
    """The model's."""
    preference: float | None
    """From 1, the reference, to 2, the model; None: there is no verdict."""
    other_order: float | None
    """The same where the outputs were shown the other way round, if that was asked."""


class Annotations(NamedTuple):
    """What one judge said of one model, beside one reference."""

    model: str
    reference: str
    judge: str
    each: tuple[Annotation, ...]


@dataclass(frozen=True)
class WinRate:
    """Of one model against one reference.

    Attributes:
        model: name.
        reference: name.
        judge: name, as the annotations have it.
        win_rate: in percent, a draw counts half.
        standard_error: of it, in percent, over instructions.
        discrete: the same where a preference is a win, a loss or a draw.
        wins: and then `losses`, `draws`: numbers of instructions.
        unjudged: instructions without a verdict, which are in no figure.
        length: mean number of characters of the model's outputs.
        both_orders: the win rate where each preference is the mean of both orders; None: not asked.
        agreement: share of the instructions asked in both orders of which both have the same winner.
        asked_twice: how many these are.
    """

    model: str
    reference: str
    judge: str
    win_rate: float
    standard_error: float
    discrete: float
    wins: int
    losses: int
    draws: int
    unjudged: int
    length: float
    both_orders: float | None
    agreement: float | None
    asked_twice: int


def read_annotations(path: str | os.PathLike[str], flag: str = "judgements") -> Annotations:
    """A file of annotations.

    Raises:
        UserError: it is no such file, holds several models or references, or no verdict.
    """
    items = read_records(path, _FIELDS, flag)
    model, reference, judge = (_one(items, name) for name in ("generator_2", "generator_1", "annotator"))
    found = Annotations(model, reference, judge, tuple(map(_annotation, items)))
    if all(each.preference is None for each in found.each):
        raise DataError(f"--{flag}={os.fspath(path)}: none of {len(items)} annotations has a verdict")
    return found


def win_rate(annotations: Annotations) -> WinRate:
    """The figures of some annotations, of which one at least has a verdict."""
    preferences = [each.preference for each in annotations.each if each.preference is not None]
    wins = sum(value > DRAW for value in preferences)
    draws = sum(value == DRAW for value in preferences)
    count = len(preferences)
    mean = math.fsum(value - 1 for value in preferences) / count
    error = statistics.stdev(preferences) / math.sqrt(count) if count > 1 else math.nan
    pairs = [(a.preference, a.other_order) for a in annotations.each]
    twice = [(a, b) for a, b in pairs if a is not None and b is not None]
    return WinRate(
        *annotations[:3],
        win_rate=100 * mean,
        standard_error=100 * error,
        discrete=100 * (wins + draws / 2) / count,
        wins=wins,
        losses=count - wins - draws,
        draws=draws,
        unjudged=len(annotations.each) - count,
        length=statistics.fmean(len(each.output) for each in annotations.each),
        both_orders=100 * statistics.fmean((a + b) / 2 - 1 for a, b in twice) if twice else None,
        agreement=agreement(twice) if twice else None,
        asked_twice=len(twice),
    )  # fmt: skip


def agreement(pairs: Sequence[tuple[float, float]]) -> float:
    """The share of pairs of preferences, of the two orders, with the same winner, or both draws."""
    same = [(a > DRAW) == (b > DRAW) and (a < DRAW) == (b < DRAW) for a, b in pairs]
    return sum(same) / len(same)


def _annotation(item: Item) -> Annotation:
    first, second = (_preference(item, name) for name in ("preference", OTHER_ORDER))
    value = item.value
    return Annotation(value["instruction"], value["output_1"], value["output_2"], first, second)


def _preference(item: Item, name: str) -> float | None:
    value: Any = item.value.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if type(value) in (int, float):
        if value == 0:
            return DRAW  # as AlpacaEval 1.0 writes it
        if 1 <= value <= 2:
            return float(value)
    raise DataError(f"{item.origin}: {name} must be a number from 1 to 2, or 0, not {str(value)[:40]!r}")


def _one(items: Sequence[Item], name: str) -> str:
    """The one value that a field has in all records."""
    values = list(dict.fromkeys(str(item.value.get(name, "")) for item in items))
    if len(values) != 1:
        raise DataError(
            f"{items[0].origin.rpartition(':')[0]}: {name} must be the same in all annotations, and is "
            f"{', '.join(values[:3])}; score each model by itself"
        )
    return values[0]
