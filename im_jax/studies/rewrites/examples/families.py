"""Families of strings that repeat themselves: how different the sides of rules are from each other.

A string of length L in a family with parameter k is made of L / k free letters:

    repeated  k = 3   a b c  ->  a a a b b b c c c
    periodic  k = 2   a b c  ->  a b c a b c
    mirrored  k = 3   a b c  ->  a b c c b a a b c
    free              all letters are free; any family with k = 1

There are A^(L / k) of them over an alphabet of A letters (arXiv:2402.10891, section on semantic diversity).
"""

from collections.abc import Callable
from typing import Final

import jaxtyping as jt
import numpy as np


def _repeated(place: np.ndarray, period: int, k: int) -> np.ndarray:
    del period
    return place // k


def _periodic(place: np.ndarray, period: int, k: int) -> np.ndarray:
    del k
    return place % period


def _mirrored(place: np.ndarray, period: int, k: int) -> np.ndarray:
    del k
    within = place % period
    return np.where(place // period % 2 == 0, within, period - 1 - within)


_SOURCES: Final[dict[str, Callable[[np.ndarray, int, int], np.ndarray]]] = {
    "repeated": _repeated,
    "periodic": _periodic,
    "mirrored": _mirrored,
}


def source_letters(family: str, length: int, k: int) -> jt.Int64[np.ndarray, " {length}"]:
    """Which free letter stands at each place of a string of `length`; `k` must divide it.

    `base[:, source_letters(family, length, k)]` makes strings of rows of `length / k` free letters.
    """
    place = np.arange(length, dtype=np.int64)
    if family == "free":
        return place
    return _SOURCES[family](place, length // k, k)
