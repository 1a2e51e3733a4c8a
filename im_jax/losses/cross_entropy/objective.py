"""Cross-entropy of a block of logits, and its gradient, written out by hand."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses.blockwise import Vocabulary


class Rows(NamedTuple):
    """What a row brings beside its hidden state."""

    labels: jt.Int32[jax.Array, " b"]
    weights: jt.Float32[jax.Array, " b"]


class Values(NamedTuple):
    """Of each row, unweighted."""

    loss: jt.Float32[jax.Array, " b"]
    """With smoothing and z-loss."""
    nll: jt.Float32[jax.Array, " b"]
    """Plain negative log-likelihood."""


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """The formula of `linear_cross_entropy`; an `im_jax.losses.blockwise.Objective`."""

    softcap: float | None
    z_loss: float
    label_smoothing: float

    def block(
        self, logits: jt.Float32[jax.Array, "b V"], rows: Rows, constants: Any, vocabulary: Vocabulary
    ) -> tuple[Values, jt.Float32[jax.Array, "b V"]]:
        del constants
        if self.softcap is not None:
            logits = self.softcap * jnp.tanh(logits / self.softcap)
        ids = vocabulary.ids(logits)
        inside = ids < vocabulary.size if vocabulary.padded(logits) else None
        is_label = ids == rows.labels[:, None]
        column = rows.labels - ids[:, 0]
        is_here = (column >= 0) & (column < logits.shape[1])  # on another device otherwise
        weights = rows.weights[:, None]

        row_max = jnp.max(logits if inside is None else jnp.where(inside, logits, -jnp.inf), axis=1)
        label_logit = jnp.take_along_axis(logits, column[:, None], axis=1, mode="clip")[:, 0]
        logit_sum = self._logit_sum(logits, inside)
        # Depends on the label's logit, which it never exceeds: the logits are then no longer needed when
        # their exponentials are written, and those can take their place in memory.
        row_max = vocabulary.max(jnp.maximum(row_max, jnp.where(is_here, label_logit, row_max)))

        exp = jnp.exp(logits - row_max[:, None])
        if inside is not None:
            exp = jnp.where(inside, exp, 0)
        sums = jnp.sum(exp, axis=1), jnp.where(is_here, label_logit, 0), logit_sum
        exp_sum, label_logit, logit_sum = vocabulary.sum(sums)
        log_partition = row_max + jnp.log(exp_sum)
        values = self.values(log_partition, label_logit, logit_sum, vocabulary.size)

        # d loss / d logits = p * (1 + 2 z_loss lse) - (1 - s) [label] - s / V, times the weight.
        scale = rows.weights * (1 + 2 * self.z_loss * log_partition) / exp_sum
        gradient = exp * scale[:, None] - jnp.where(is_label, (1 - self.label_smoothing) * weights, 0)
        if self.label_smoothing:
            uniform = self.label_smoothing / vocabulary.size * weights
            gradient = gradient - (uniform if inside is None else jnp.where(inside, uniform, 0))
        if self.softcap is not None:
            gradient = gradient * (1 - jnp.square(logits / self.softcap))
        return values, gradient

    def _logit_sum(self, logits: jax.Array, inside: jax.Array | None) -> jax.Array:
        """Sum over the vocabulary, which label smoothing needs; 0 without."""
        if not self.label_smoothing:
            return jnp.zeros(logits.shape[0], jnp.float32)
        return jnp.sum(logits if inside is None else jnp.where(inside, logits, 0), axis=1)

    def values(
        self, log_partition: jax.Array, label_logit: jax.Array, logit_sum: jax.Array, vocab_size: int
    ) -> Values:
        """Values from what the logits of each row come down to."""
        nll = log_partition - label_logit
        loss = nll
        if self.label_smoothing:
            smooth = log_partition - logit_sum / vocab_size
            loss = (1 - self.label_smoothing) * nll + self.label_smoothing * smooth
        if self.z_loss:
            loss = loss + self.z_loss * jnp.square(log_partition)
        return Values(loss, nll)
