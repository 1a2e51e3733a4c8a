"""What is read of a token's logits: log-probabilities of labels, and the most likely token."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses.blockwise import Vocabulary


class Values(NamedTuple):
    """Of each row of logits."""

    logprobs: tuple[jt.Float32[jax.Array, " b"], ...]
    """Of its labels, in nats."""
    most_likely: jt.Int32[jax.Array, " b"]
    """The smallest id of those with the highest logit; the size of the vocabulary if it is not a number."""


@dataclasses.dataclass(frozen=True)
class LabelScores:
    """An `im_jax.losses.blockwise.Objective` that nothing is differentiated by."""

    softcap: float | None
    """Bound of the logits, as in Gemma 2."""

    def block(
        self,
        logits: jt.Float32[jax.Array, "b V"],
        rows: jt.Int32[jax.Array, "b labels"],
        constants: Any,
        vocabulary: Vocabulary,
    ) -> tuple[tuple[jax.Array, Values], jt.Float32[jax.Array, "b V"]]:
        del constants
        if self.softcap is not None:
            logits = self.softcap * jnp.tanh(logits / self.softcap)
        ids = vocabulary.ids(logits)
        if vocabulary.padded(logits):
            logits = jnp.where(ids < vocabulary.size, logits, -jnp.inf)
        top = vocabulary.max(jnp.max(logits, axis=1))
        # Maxima are what shards exchange.
        highest = jnp.where(logits == top[:, None], ids, vocabulary.size)
        most_likely = -vocabulary.max(-jnp.min(highest, axis=1))
        columns = rows - ids[:, :1]
        is_here = (columns >= 0) & (columns < logits.shape[1])  # on another device otherwise
        of_labels = jnp.where(is_here, jnp.take_along_axis(logits, columns, axis=1, mode="clip"), 0)
        exp_sum, of_labels = vocabulary.sum((jnp.sum(jnp.exp(logits - top[:, None]), axis=1), of_labels))
        log_partition = top + jnp.log(exp_sum)
        logprobs = of_labels - log_partition[:, None]
        by_label = tuple(logprobs[:, place] for place in range(rows.shape[1]))
        return (log_partition, Values(by_label, most_likely)), jnp.zeros_like(logits)
