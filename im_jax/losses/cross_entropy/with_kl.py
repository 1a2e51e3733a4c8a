"""Cross-entropy and the divergence from a base model, of the same logits in one pass over the vocabulary."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses import kl
from im_jax.losses.blockwise import Vocabulary
from im_jax.losses.cross_entropy import objective
from im_jax.losses.cross_entropy.objective import CrossEntropy
from im_jax.losses.kl import KL
from im_jax.losses.sharded import UNSHARDED, LossAxes, weighted_loss


def linear_cross_entropy_with_kl(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    labels: jt.Int[jt.Array, " N"],
    weights: jt.Float32[jt.Array, " N"],
    base_hidden: jt.Float[jt.Array, "N E"],
    base_head: jt.Float[jt.Array, "E V"],
    coefficient: jt.Float32[jt.Array, ""],
    *,
    direction: str = "reverse",
    estimator: str = "exact",
    softcap: float | None = None,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    axes: LossAxes = UNSHARDED,
) -> tuple[jt.Float32[jt.Array, ""], jt.Float32[jt.Array, " N"], jt.Float32[jt.Array, " N"]]:
    """The sum of `linear_cross_entropy` and `coefficient` times `im_jax.losses.kl.linear_kl`.

    Both are of the same tokens with the same weights. The logits of each model are made once, a block at a
    time, and never held for all tokens.

    Args:
        hidden: final hidden states of the model that is trained; differentiated.
        head: its output projection; differentiated.
        labels: the next token of each.
        weights: weight of each token, normalised; data.
        base_hidden: see `linear_kl`; data.
        base_head: see `linear_kl`; data. Both models' logits have the same bound.
        coefficient: of the divergence, >= 0; data, so that another one does not compile again.
        direction: `reverse`, KL(model || base), or `forward`; of the exact divergence alone.
        estimator: `exact`, the divergence over the whole vocabulary; or `sampled_released`: see
            `CrossEntropyWithSampledKL`.
        softcap: see `linear_cross_entropy`.
        z_loss: see `linear_cross_entropy`.
        label_smoothing: see `linear_cross_entropy`.
        axes: how the arrays lie on the mesh; both heads lie alike.

    Returns:
        The weighted sum; the negative log-likelihood of each token; and its divergence in nats, as estimated.
        The last two carry no gradient, and are 0 where the weight is.

    Raises:
        ValueError: as of `linear_kl`, or there is no such estimator.
    """
    cross_entropy = CrossEntropy(softcap, z_loss, label_smoothing)
    formula: CrossEntropyWithKL | CrossEntropyWithSampledKL
    if estimator == "exact":
        formula = CrossEntropyWithKL(cross_entropy, KL(softcap, softcap, direction))
    elif estimator == "sampled_released":
        formula = CrossEntropyWithSampledKL(cross_entropy)
    else:
        raise ValueError(f"estimator must be exact or sampled_released, got {estimator!r}")
    kl.check_base(hidden, head, base_hidden, base_head)
    weights = jax.lax.stop_gradient(weights.astype(jnp.float32))
    share = jnp.broadcast_to(jax.lax.stop_gradient(coefficient).astype(jnp.float32), weights.shape)
    rows = Rows(labels.astype(jnp.int32), weights, base_hidden.astype(hidden.dtype), share)
    loss, values = weighted_loss(formula, hidden, head, weights, rows, (base_head,), axes=axes)
    return loss, values.nll, values.kl


class Rows(NamedTuple):
    """What a row brings beside its hidden state."""

    labels: jt.Int32[jax.Array, " b"]
    weights: jt.Float32[jax.Array, " b"]
    base_hidden: jt.Float[jax.Array, "b E"]
    coefficient: jt.Float32[jax.Array, " b"]


class Values(NamedTuple):
    """Of each row, unweighted."""

    loss: jt.Float32[jax.Array, " b"]
    nll: jt.Float32[jax.Array, " b"]
    kl: jt.Float32[jax.Array, " b"]


@dataclasses.dataclass(frozen=True)
class CrossEntropyWithKL:
    """The formula of `linear_cross_entropy_with_kl`; an `im_jax.losses.blockwise.Objective`."""

    cross_entropy: CrossEntropy
    kl: KL

    def block(
        self, logits: jt.Float32[jax.Array, "b V"], rows: Rows, constants: Any, vocabulary: Vocabulary
    ) -> tuple[Values, jt.Float32[jax.Array, "b V"]]:
        plain = objective.Rows(rows.labels, rows.weights)
        told, gradient = self.cross_entropy.block(logits, plain, (), vocabulary)
        other = kl.Rows(rows.base_hidden, rows.weights * rows.coefficient)
        (divergence,), more = self.kl.block(logits, other, constants, vocabulary)
        return Values(told.loss + rows.coefficient * divergence, told.nll, divergence), gradient + more


@dataclasses.dataclass(frozen=True)
class CrossEntropyWithSampledKL:
    """Cross-entropy, and the estimate of KL(model || base) in the code released with Shi et al. (2024).

    The estimate is log p(target) - log q(target), p of the model and q of the base. A sample of p would make
    it unbiased; the target is one of the data. Its gradient is minus that of the cross-entropy: a coefficient
    below 1 only makes the step smaller, and at 1 nothing is trained.
    """

    cross_entropy: CrossEntropy

    def block(
        self, logits: jt.Float32[jax.Array, "b V"], rows: Rows, constants: Any, vocabulary: Vocabulary
    ) -> tuple[Values, jt.Float32[jax.Array, "b V"]]:
        (base_head,) = constants
        base_logits = jnp.dot(rows.base_hidden, base_head, preferred_element_type=jnp.float32)
        plain = dataclasses.replace(self.cross_entropy, z_loss=0.0, label_smoothing=0.0)
        weighted = objective.Rows(rows.labels, rows.weights * rows.coefficient)
        told, gradient = self.cross_entropy.block(
            logits, objective.Rows(rows.labels, rows.weights), (), vocabulary
        )
        own, less = plain.block(logits, weighted, (), vocabulary)
        base, _ = plain.block(base_logits, weighted, (), vocabulary)
        estimate = base.nll - own.nll
        return Values(told.loss + rows.coefficient * estimate, told.nll, estimate), gradient - less
