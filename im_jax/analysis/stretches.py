"""Examples cut where the class of their tokens changes: what is asked before what, and what is answered."""

import itertools
from typing import NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import ExampleView
from im_jax.token_classes import MAIN_CLASS_TABLE, OUTPUT_CLASSES, TokenClass

_LAST_OUTPUT = tuple(c for c in OUTPUT_CLASSES if c.label.startswith("last_"))


class Stretch(NamedTuple):
    """Neighbouring tokens of one main class; all that is before them is their context."""

    token_class: TokenClass
    start: int
    """1 or more: nothing predicts the first token of an example."""
    end: int


class Asked(NamedTuple):
    """The last answer of an example, without its stop, and all that is before it."""

    prompt: jt.Int32[np.ndarray, " P"]
    answer: jt.Int32[np.ndarray, " A"]


def stretches(example: ExampleView) -> list[Stretch]:
    """Every target of an example, in stretches of one main class.

    classes  bos header header user user assistant stop    ->  header 1-3, user 3-5, assistant 5-6, stop 6-7
    """
    classes = MAIN_CLASS_TABLE[example.classes]
    if len(classes) < 2:
        return []
    cuts = [1, *(int(at) for at in np.flatnonzero(np.diff(classes)) + 1 if at > 1), len(classes)]
    return [
        Stretch(TokenClass(int(classes[start])), start, end)
        for start, end in itertools.pairwise(cuts)
        if start < end
    ]


def last_answer(example: ExampleView) -> Asked | None:
    """What the last answer of an example is asked by, and what it says; None where it was cut away."""
    says = np.isin(example.classes, _LAST_OUTPUT)
    if not says.any():
        return None
    start = int(np.argmax(says))
    stops = np.flatnonzero(example.classes[start:] == TokenClass.LAST_STOP)
    end = start + int(stops[0]) if len(stops) else int(np.flatnonzero(says)[-1]) + 1
    if start == 0 or end == start:
        return None
    return Asked(example.tokens[:start], example.tokens[start:end])
