"""The one entrance to the loss kernel; see `linear_cross_entropy`."""

import functools
from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.devices import device_kind, platform
from im_jax.losses.cross_entropy import full_logits, pallas_tpu
from im_jax.losses.cross_entropy.objective import CrossEntropy, Rows, Values
from im_jax.losses.sharded import UNSHARDED, LossAxes, weighted_loss

IMPLEMENTATIONS: Final = ("auto", "blockwise", "pallas", "full_logits")


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
    axes: LossAxes = UNSHARDED,
) -> tuple[jt.Float32[jt.Array, ""], jt.Float32[jt.Array, " N"]]:
    """Weighted sum of next-token losses of the logits `hidden @ head`.

    With `z = softcap * tanh(hidden @ head / softcap)` (no cap when None) and `s = label_smoothing`:

        loss = sum_i weights[i] * ((1 - s) * nll_i + s * mean_v(lse_i - z_iv) + z_loss * lse_i ** 2)

    Args:
        hidden: final hidden states, any float type; differentiated.
        head: output projection; multiplied in the type of `hidden` with float32 accumulation;
            differentiated, its gradient in its own type.
        labels: target ids in [0, V); ignored where the weight is 0, whatever they hold.
        weights: weight of each token, >= 0; data, not differentiated. Normalise them beforehand
            (`im_jax.losses.weighting`): this function only sums.
        softcap: bound of the logits, as in Gemma 2.
        z_loss: coefficient of the squared log-partition, as in PaLM.
        label_smoothing: share of the target that is spread evenly over the vocabulary, in [0, 1).
        implementation: `blockwise` does no work for rows of weight 0 and never holds N x V logits;
            `pallas` is the same with a TPU kernel where nothing is differentiated, in evaluation (training
            puts the gradient in the forward pass, which costs less than a forward kernel and recomputation);
            `full_logits` is the plain formula, for reference. `auto`: `pallas` where it can be, else
            `blockwise`.
        axes: how the arrays lie on the mesh that `jax.set_mesh` set: each device then works on its own rows
            and columns, however unequal the numbers of rows that carry loss.

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
        known = ", ".join(IMPLEMENTATIONS)
        raise ValueError(f"implementation must be one of {known}, got {implementation!r}")
    weights = jax.lax.stop_gradient(weights.astype(jnp.float32))
    if implementation == "full_logits":
        return full_logits.linear_cross_entropy(
            hidden, head, labels, weights, softcap=softcap, z_loss=z_loss, label_smoothing=label_smoothing
        )
    objective = CrossEntropy(softcap, z_loss, label_smoothing)
    forward = None
    if implementation != "blockwise":
        # The head is cast to the type of the hidden states before it is multiplied.
        reason = _reason_against_pallas(hidden, jax.ShapeDtypeStruct(head.shape, hidden.dtype))
        if reason is None:
            forward = functools.partial(_pallas_values, objective)
        elif implementation == "pallas":
            raise ValueError(f"implementation 'pallas' cannot be used here: {reason}; set it to 'auto'")
    rows = Rows(labels.astype(jnp.int32), weights)
    loss, values = weighted_loss(objective, hidden, head, weights, rows, axes=axes, forward=forward)
    return loss, values.nll


def _reason_against_pallas(hidden: jax.Array, head: jax.ShapeDtypeStruct) -> str | None:
    """Why the kernel cannot run where the program will; None if it can."""
    if platform() != "tpu":
        return f"it is for TPUs, and the program is for {platform()}"
    if device_kind().startswith(("TPU v2", "TPU v3", "TPU v4")):
        return f"it needs more vector memory than a {device_kind()} has"
    return pallas_tpu.supported(hidden, head)


def _pallas_values(
    objective: CrossEntropy, hidden: jax.Array, head: jax.Array, rows: Rows, count: jax.Array
) -> Values:
    """Values of the first `count` rows."""
    found = pallas_tpu.row_statistics(hidden, head, rows.labels, count, softcap=objective.softcap)
    values = objective.values(found.log_partition, found.label_logit, found.logit_sum, head.shape[1])
    exists = jnp.arange(hidden.shape[0]) < count
    return Values(*(jnp.where(exists, x, 0) for x in values))
