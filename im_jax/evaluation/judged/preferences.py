"""What a judge of two outputs prefers, out of what it has said: AlpacaEval's rules.

A preference is 1 where the first output is better, which is the reference's, 2 where the second is, which is
the model's, and between them where a judge is unsure; 1.5 is a draw.
"""

import ast
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

FIRST, SECOND = "m", "M"
"""What the weighted judge says for the output that it is shown first, and second."""
DRAW: Final = 1.5


def is_swapped(instruction: str, seed: int = 0) -> bool:
    """Whether a judge is shown the model's output first.

    AlpacaEval draws it from the instruction, so that it is the same for every model.
    """
    return random.Random(f"is_switched_outputs{instruction}{seed}").choices([False, True])[0]


def unswapped(preference: float, swapped: bool) -> float:
    """A preference as if the reference had been shown first."""
    return 3.0 - preference if swapped else preference


def weighted(choice: Mapping[str, Any]) -> float | None:
    """The preference of a judge that answers with one token, by the probabilities of both.

    Args:
        choice: of a chat completion, with `logprobs`.

    Returns:
        1 + P(second) / (P(first) + P(second)); None: neither is among the likely tokens.
    """
    try:
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        known = {each["token"]: float(each["logprob"]) for each in tokens}
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    first, second = (math.exp(known.get(name, -math.inf)) for name in (FIRST, SECOND))
    return 2.0 - first / (first + second) if first + second > 0 else None


def ranked(text: str, first: str = "model_1") -> float | None:
    """The preference of a judge that answers with a ranked list, as
    `[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]`; None: it is none.
    """
    try:
        ranking = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(ranking, Sequence):
        return None
    ranks = [each.get("rank") for each in ranking if isinstance(each, dict) and each.get("model") == first]
    return float(ranks[0]) if ranks and ranks[0] in (1, 2) and type(ranks[0]) is int else None
