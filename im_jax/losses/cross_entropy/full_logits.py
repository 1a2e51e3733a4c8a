"""The plain implementation: all N x V logits in float32. Simple, and the reference for others."""

import jax
import jax.numpy as jnp
import jaxtyping as jt


def linear_cross_entropy(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    labels: jt.Int[jt.Array, " N"],
    weights: jt.Float32[jt.Array, " N"],
    *,
    softcap: float | None,
    z_loss: float,
    label_smoothing: float,
) -> tuple[jt.Float32[jt.Array, ""], jt.Float32[jt.Array, " N"]]:
    """As `im_jax.losses.cross_entropy.linear_cross_entropy`, by autodiff of the formula there."""
    active = weights > 0
    # Inactive rows are replaced before the product: 0 * NaN would reach the gradients.
    hidden = jnp.where(active[:, None], hidden, 0)
    labels = jnp.where(active, labels, 0)
    logits = jnp.dot(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    log_partition = jax.nn.logsumexp(logits, axis=-1)
    nll = log_partition - jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    losses = nll
    if label_smoothing:
        uniform = log_partition - jnp.mean(logits, axis=-1)
        losses = (1 - label_smoothing) * nll + label_smoothing * uniform
    if z_loss:
        losses = losses + z_loss * jnp.square(log_partition)
    return jnp.sum(weights * losses), jax.lax.stop_gradient(jnp.where(active, nll, 0.0))
