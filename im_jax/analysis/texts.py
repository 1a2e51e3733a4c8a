"""What a model's answers have of the texts that it was trained on, and how they differ from each other."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import Dataset
from im_jax.token_classes import MAIN_CLASS_TABLE, TokenClass

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_AT_A_TIME: Final = 1024
"""Examples whose n-grams are made at once."""


def distinct(answers: Iterable[str], n: int) -> float:
    """Different n-grams of words over all n-grams of all answers (Li et al. 2016); NaN if there are none."""
    grams: list[tuple[str, ...]] = []
    for answer in answers:
        words = answer.split()
        grams += [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def token_grams(tokens: jt.Integer[np.ndarray, " T"], n: int) -> jt.UInt64[np.ndarray, " G"]:
    """A number for each n-gram of some tokens, equal for equal ones; others collide once in 2^64 or so."""
    count = len(tokens) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * _MULTIPLIER
    mixed ^= mixed >> np.uint64(31)
    found = np.zeros(count, np.uint64)
    for at in range(n):
        found = (found ^ (found >> np.uint64(29))) * _MULTIPLIER + mixed[at : at + count]
    return found


def output_grams(dataset: Dataset, n: int) -> jt.UInt64[np.ndarray, " G"]:
    """The different n-grams of all outputs of a data set, sorted: 8 bytes each."""
    parts = [np.zeros(0, np.uint64)]
    for start in range(0, len(dataset), _AT_A_TIME):
        flat = dataset.flat(np.arange(start, min(start + _AT_A_TIME, len(dataset))))
        parts.append(np.unique(np.concatenate([token_grams(t, n) for t in _outputs(flat)] or parts[:1])))
    return np.unique(np.concatenate(parts))


def _outputs(flat: Any) -> Iterator[jt.Int32[np.ndarray, " T"]]:
    """The tokens of each answer, without stops."""
    says = MAIN_CLASS_TABLE[flat.classes] == TokenClass.ASSISTANT
    inside = np.zeros(len(says) + 1, bool)
    inside[1:-1] = says[1:] & says[:-1]
    inside[flat.bounds[flat.bounds <= len(says)]] = False
    starts = np.flatnonzero(says & ~inside[:-1])
    ends = np.flatnonzero(says & ~inside[1:]) + 1
    for start, end in zip(starts, ends, strict=True):
        yield flat.tokens[start:end]


def share_within(grams: jt.UInt64[np.ndarray, " G"], known: jt.UInt64[np.ndarray, " K"]) -> tuple[int, int]:
    """How many n-grams are among known ones, and how many there are."""
    return int(np.isin(grams, known).sum()), len(grams)
