"""How far the logits of two models are apart on some tokens."""

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.models import decoder
from im_jax.models.loaded import Model
from im_jax.models.sharding import everywhere

_TEXT: Final = (
    "The sum of two numbers does not depend on their order: 3 + 4 is 7, and so is 4 + 3. Of a difference "
    "that is not true. Write a function that takes a list of numbers, and returns the even ones:\n"
    "def even(numbers):\n    return [number for number in numbers if number % 2 == 0]\n"
)
"""Prose, numbers and a program."""
_TOKENS: Final = 64


class Difference(NamedTuple):
    """Of the logits of one model from those of another."""

    largest: float
    largest_logit: float
    """By its size, of the first."""
    tokens: int
    """After which they were compared."""
    same: int
    """After how many of these both hold the same token most likely."""

    def __str__(self) -> str:
        """For a reader, in a line."""
        return (
            f"{self.largest:.2g} at most, of logits up to {self.largest_logit:.3g}; the most likely token is "
            f"the same after {self.same} of {self.tokens} tokens"
        )


def sample_logits(model: Model) -> jt.Float32[np.ndarray, "T V"]:
    """A model's logits after each token of a short text."""
    text = model.text(_TEXT)[: min(_TOKENS, model.config.max_positions)]
    rows = np.tile(text, (model.batch_size(1), 1))
    ones, positions = np.ones_like(rows), np.broadcast_to(np.arange(len(text)), rows.shape)
    with jax.set_mesh(model.mesh):
        tokens, segments, places = (jnp.asarray(array) for array in (rows, ones, positions))
        found = decoder.logits(model.params, model.config, tokens, segments, places, model.rules)
        return everywhere(found)[0]


def difference(one: jt.Float32[np.ndarray, "T V"], other: jt.Float32[np.ndarray, "T V"]) -> Difference:
    """Of two models' logits after the same tokens."""
    return Difference(
        largest=float(np.abs(one - other).max()),
        largest_logit=float(np.abs(one).max()),
        tokens=len(one),
        same=int((one.argmax(-1) == other.argmax(-1)).sum()),
    )
