"""Whether the numbers of a run are still numbers, and what to tell its user if not."""

import math
from typing import Any, Final

import jax
import jax.numpy as jnp

from im_jax.errors import TrainingError

_SHOWN: Final = 3
"""Names of arrays in a message."""


def not_finite(tree: Any) -> str:
    """Names of the arrays in a tree that hold infinities or NaN, cut short; empty if there are none.

    One pass over the arrays, where they live.
    """
    finite = jax.tree_util.tree_leaves_with_path(jax.device_get(_are_finite(tree)))
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, good in finite if not good]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@jax.jit
def _are_finite(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree)


class NotFiniteError(TrainingError):
    """A step gave a loss, a gradient or parameters that are no finite numbers."""

    def __init__(self, step: int, message: str, *details: str) -> None:
        super().__init__(message, *details)
        self.step = step


def not_finite_numbers(loss: float, grad_norm: float) -> str:
    """What a step gave, if either is no finite number; else empty."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return ""
    return f"the loss is {loss} and the gradient norm {grad_norm}"


def require_finite_state(step: int, state: Any) -> None:
    """Stop before a ruined state is saved over a good one: its own step's loss was computed before it.

    Raises:
        NotFiniteError: parameters or moments hold numbers that are not finite.
    """
    if names := not_finite(state):
        raise NotFiniteError(step, f"step {step}: its update left numbers that are not finite in {names}")


def far_from_guessing(nll: float, vocab_size: int) -> bool:
    """Whether a loss is far worse than that of guessing every token with equal chance, ln V.

    No model starts there: random weights give about ln V, trained ones less. Two nats leave room for random
    weights of an unusual size and for batches of a few tokens.
    """
    return nll > math.log(vocab_size) + 2.0
