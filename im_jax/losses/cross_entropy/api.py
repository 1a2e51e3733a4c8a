"""The one entrance to the loss kernel; see `linear_cross_entropy`."""

from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses.cross_entropy import full_logits
from im_jax.losses.cross_entropy.objective import CrossEntropy, Rows
from im_jax.losses.sharded import LossAxes, weighted_loss

IMPLEMENTATIONS: Final = ("auto", "blockwise", "full_logits")


def linear_cross_entropy(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    labels: jt.Int[jt.Array, " N"],
    weights: jt.Float32[jt.Array, " N"],
    *,
    softcap: float | None = None,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    implementation: str = "auto",
    axes: LossAxes = LossAxes(),
) -> tuple[jt.Float32[jt.Array, ""], jt.Float32[jt.Array, " N"]]:
    """Weighted sum of next-token losses of the logits `hidden @ head`.

    With `z = softcap * tanh(hidden @ head / softcap)` (no cap when None) and `s = label_smoothing`:

        loss = sum_i weights[i] * ((1 - s) * nll_i + s * mean_v(lse_i - z_iv) + z_loss * lse_i ** 2)

    Args:
        hidden: final hidden states, any float type; differentiated.
        head: output projection, of the type of `hidden`; differentiated.
        labels: target ids in [0, V); ignored where the weight is 0, whatever they hold.
        weights: weight of each token, >= 0; data, not differentiated. Normalise them beforehand
            (`im_jax.losses.weighting`): this function only sums.
        softcap: bound of the logits, as in Gemma 2.
        z_loss: coefficient of the squared log-partition, as in PaLM.
        label_smoothing: share of the target that is spread evenly over the vocabulary, in [0, 1).
        implementation: `full_logits` forms the N x V logits; `auto` picks the best for the platform.

    Returns:
        loss: f32 scalar.
        token_losses: f32 [N], the plain negative log-likelihood in nats of each token, 0 where the
            weight is 0. For reporting: it carries no gradient.

    Rows of weight 0 have no influence at all: NaN or infinity in their hidden states changes nothing.
    """
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap must be above 0 or None, got {softcap}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"implementation must be one of {', '.join(IMPLEMENTATIONS)}, got {implementation!r}")
    weights = jax.lax.stop_gradient(weights.astype(jnp.float32))
    if implementation == "full_logits":
        return full_logits.linear_cross_entropy(
            hidden, head, labels, weights, softcap=softcap, z_loss=z_loss, label_smoothing=label_smoothing
        )
    objective = CrossEntropy(softcap, z_loss, label_smoothing)
    rows = Rows(labels.astype(jnp.int32), weights)
    loss, values = weighted_loss(objective, hidden, head, weights, rows, axes=axes)
    return loss, values.nll
