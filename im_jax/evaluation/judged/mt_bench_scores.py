"""MT-Bench's figures from its judgements: FastChat's `model_judgment/JUDGE_single.jsonl`."""

import math
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from im_jax.errors import DataError
from im_jax.evaluation.judged.mt_bench import WRONG_REFERENCES, Question
from im_jax.evaluation.records import Kind, read_records

_RATING: Final = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_LOOSE_RATING: Final = re.compile(r"\[(\d+\.?\d*)\]")
NO_RATING: Final = -1.0
"""FastChat's score of a judgement in which there is none."""


class Judged(NamedTuple):
    """Judgements of one model."""

    model: str
    judge: str
    scores: Mapping[tuple[int, int], float]
    """By question and turn; `NO_RATING`: there is none."""


@dataclass(frozen=True)
class Mean:
    """Of scores from 1 to 10.

    Attributes:
        value: the mean.
        standard_error: over questions; `nan` where there is one.
        count: number of judgements.
    """

    value: float
    standard_error: float
    count: int


@dataclass(frozen=True)
class Scores:
    """Of one model.

    Attributes:
        model: name.
        judge: name.
        turns: mean by turn, from 1.
        overall: of all judgements, as FastChat reports it.
        categories: of all judgements of a category, where the questions are known.
        unrated: judgements without a rating, which are in no mean.
        wrong_references: rated judgements beside a reference that is known to be wrong.
    """

    model: str
    judge: str
    turns: Mapping[int, Mean]
    overall: Mean
    categories: Mapping[str, Mean]
    unrated: int
    wrong_references: int


def rating(judgement: str) -> float:
    """The score in a judgement: of the first `[[n]]`, else of the first `[n]`, else -1."""
    found = _RATING.search(judgement) or _LOOSE_RATING.search(judgement)
    return float(found[1]) if found else NO_RATING


def read_judgements(path: str | os.PathLike[str], flag: str = "judgements") -> list[Judged]:
    """The judgements of each model in a file.

    Raises:
        UserError: it is no such file, judges something twice, or rates nothing of a model.
    """
    fields: dict[str, Kind] = {"question_id": int, "model": str, "score": (int, float), "turn": int}
    by_model: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    judges: dict[str, str] = {}
    for item in read_records(path, fields, flag):
        model, place = item.value["model"], (item.value["question_id"], item.value["turn"])
        if place in by_model[model]:
            raise DataError(
                f"{item.origin}: turn {place[1]} of question {place[0]} is judged twice for {model}"
            )
        by_model[model][place] = float(item.value["score"])
        judge = item.value.get("judge")
        judges[model] = str(judge[0] if isinstance(judge, list) and judge else judge)
    for model, scores in by_model.items():
        if all(score == NO_RATING for score in scores.values()):
            raise DataError(f"none of {len(scores)} judgements of {model} has a rating")
    return [Judged(model, judges[model], scores) for model, scores in by_model.items()]


def mt_bench_scores(judged: Judged, questions: Mapping[int, Question]) -> Scores:
    """The figures of one model.

    Args:
        judged: with one rating at least.
        questions: for the categories; may be empty.

    Raises:
        DataError: a question is judged that is none of these.
    """
    model, judge, scores = judged
    rated = {place: score for place, score in scores.items() if score != NO_RATING}
    if unknown := [number for number, _ in rated if questions and number not in questions]:
        raise DataError(f"question {unknown[0]} is judged and is none of these; give the file it came from")
    turns: dict[int, list[tuple[int, float]]] = defaultdict(list)
    categories: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for (number, turn), score in sorted(rated.items()):
        turns[turn].append((number, score))
        if questions:
            categories[questions[number].category].append((number, score))
    return Scores(
        model,
        judge,
        {turn: _mean(turns[turn]) for turn in sorted(turns)},
        _mean([(number, score) for (number, _), score in rated.items()]),
        {name: _mean(values) for name, values in categories.items()},
        len(scores) - len(rated),
        sum(number in WRONG_REFERENCES for number, _ in rated),
    )


def _mean(scores: Sequence[tuple[int, float]]) -> Mean:
    """The mean, and its error with the turns of a question taken together: they are not independent."""
    mean = statistics.fmean(score for _, score in scores)
    residuals: dict[int, float] = defaultdict(float)
    for number, score in scores:
        residuals[number] += score - mean
    clusters = len(residuals)
    if clusters < 2:
        return Mean(mean, math.nan, len(scores))
    squares = math.fsum(value**2 for value in residuals.values()) * clusters / (clusters - 1)
    return Mean(mean, math.sqrt(squares) / len(scores), len(scores))
