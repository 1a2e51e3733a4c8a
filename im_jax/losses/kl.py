"""KL divergence of one linear head's distribution to another's, over the whole vocabulary."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses.blockwise import Vocabulary
from im_jax.losses.sharded import UNSHARDED, LossAxes, weighted_loss


def linear_kl(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    base_hidden: jt.Float[jt.Array, "N E"],
    base_head: jt.Float[jt.Array, "E V"],
    weights: jt.Float32[jt.Array, " N"],
    *,
    direction: str = "reverse",
    softcap: float | None = None,
    base_softcap: float | None = None,
    axes: LossAxes = UNSHARDED,
) -> tuple[jt.Float32[jt.Array, ""], jt.Float32[jt.Array, " N"]]:
    """Weighted sum of KL(p || q) of the next token, p of the policy that is trained, q of a fixed base.

    With `p = softmax(hidden @ head)` and `q = softmax(base_hidden @ base_head)`:

        loss = sum_i weights[i] * sum_v p_iv * (log p_iv - log q_iv)

    and with `direction="forward"` KL(q || p), the two exchanged.

    Added to the cross-entropy with a coefficient, it is the KL regulariser that Shi et al., "Instruction
    Tuning With Loss Over Instructions" (NeurIPS 2024), compare Instruction Modelling with. The N x V logits
    of neither model are ever held.

    Args:
        hidden: final hidden states of the policy, any float type; differentiated.
        head: output projection of the policy, used in the type of `hidden`; differentiated.
        base_hidden: final hidden states of the base, on the same tokens; data, used in the type of `hidden`.
        base_head: output projection of the base to the same vocabulary; data, used in the type of `hidden`.
        weights: weight of each token, >= 0; data. Normalise them beforehand: this function only sums.
        direction: `reverse`, KL(p || q), or `forward`, KL(q || p).
        softcap: bound of the policy's logits, `softcap * tanh(logits / softcap)`.
        base_softcap: bound of the base's logits; where both models are of one kind, it is `softcap`.
        axes: how the arrays lie on the mesh; both heads lie alike.

    Returns:
        loss: f32 scalar.
        token_kl: f32 [N], the divergence in nats of each token, 0 where the weight is 0. For reporting: it
            carries no gradient. Its error is that of a float32 log-partition, about 1e-6, so a value of 0 may
            come out slightly negative; gradients have no such floor.

    Raises:
        ValueError: a softcap is not above 0, the two models differ in tokens or vocabulary, or the direction
            is neither.

    Rows of weight 0 have no influence at all: NaN or infinity in their hidden states changes nothing.
    """
    objective = KL(softcap, base_softcap, direction)
    check_base(hidden, head, base_hidden, base_head)
    weights = jax.lax.stop_gradient(weights.astype(jnp.float32))
    rows = Rows(base_hidden.astype(hidden.dtype), weights)
    loss, values = weighted_loss(objective, hidden, head, weights, rows, (base_head,), axes=axes)
    return loss, values.kl


def check_base(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    base_hidden: jt.Float[jt.Array, "M E"],
    base_head: jt.Float[jt.Array, "E W"],
) -> None:
    """Raises `ValueError` where the two models differ in tokens or vocabulary."""
    if base_head.shape[1] != head.shape[1]:
        raise ValueError(
            f"base_head has a vocabulary of {base_head.shape[1]} and head one of {head.shape[1]}: "
            "give a base model with the vocabulary of the policy"
        )
    if base_hidden.shape[0] != hidden.shape[0]:
        raise ValueError(
            f"base_hidden has {base_hidden.shape[0]} rows and hidden {hidden.shape[0]}: "
            "run both models on the same tokens"
        )


class Rows(NamedTuple):
    """What a row brings beside its hidden state."""

    base_hidden: jt.Float[jax.Array, "b E"]
    weights: jt.Float32[jax.Array, " b"]


class Values(NamedTuple):
    """Of each row, unweighted."""

    kl: jt.Float32[jax.Array, " b"]


@dataclasses.dataclass(frozen=True)
class KL:
    """The formula of `linear_kl`; an `im_jax.losses.blockwise.Objective`."""

    softcap: float | None
    base_softcap: float | None
    direction: str = "reverse"

    def __post_init__(self) -> None:
        for name, value in (("softcap", self.softcap), ("base_softcap", self.base_softcap)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0 or None, got {value}")
        if self.direction not in ("reverse", "forward"):
            raise ValueError(f"direction must be reverse or forward, got {self.direction!r}")

    def block(
        self, logits: jt.Float32[jax.Array, "b V"], rows: Rows, constants: Any, vocabulary: Vocabulary
    ) -> tuple[Values, jt.Float32[jax.Array, "b V"]]:
        (base_head,) = constants
        base_logits = jnp.dot(rows.base_hidden, base_head, preferred_element_type=jnp.float32)
        logits, base_logits = _cap(logits, self.softcap), _cap(base_logits, self.base_softcap)
        inside = vocabulary.ids(logits) < vocabulary.size if vocabulary.padded(logits) else None

        def row_max(x: jax.Array) -> jax.Array:
            return jnp.max(x if inside is None else jnp.where(inside, x, -jnp.inf), axis=1)

        def exp_from(shifted: jax.Array) -> jax.Array:
            exp = jnp.exp(shifted)
            return exp if inside is None else jnp.where(inside, exp, 0)

        top, base_top = vocabulary.max(jnp.stack([row_max(logits), row_max(base_logits)]))
        shifted, base_shifted = logits - top[:, None], base_logits - base_top[:, None]
        exp, base_exp = exp_from(shifted), exp_from(base_shifted)
        # log p - log q, but for a constant of the row; of logarithms, so that a q that underflows is no NaN.
        difference = shifted - base_shifted
        over = exp if self.direction == "reverse" else base_exp
        sums = [jnp.sum(x, axis=1) for x in (exp, base_exp, over * difference)]
        exp_sum, base_exp_sum, difference_sum = vocabulary.sum(sums)
        constant = jnp.log(base_exp_sum) - jnp.log(exp_sum)
        if self.direction == "reverse":
            mean_difference = difference_sum / exp_sum
            kl = mean_difference + constant
            # d KL / d logits = p * (log p - log q - KL): the constant of the row cancels.
            gradient = exp * (rows.weights / exp_sum)[:, None] * (difference - mean_difference[:, None])
        else:
            kl = -difference_sum / base_exp_sum - constant
            # d KL / d logits = p - q.
            gradient = exp * (rows.weights / exp_sum)[:, None]
            gradient = gradient - base_exp * (rows.weights / base_exp_sum)[:, None]
        if self.softcap is not None:
            gradient = gradient * (1 - jnp.square(logits / self.softcap))
        return Values(kl), gradient


def _cap(logits: jax.Array, softcap: float | None) -> jax.Array:
    return logits if softcap is None else softcap * jnp.tanh(logits / softcap)
