"""Sums over tokens by class, so that means over any number of batches are exact."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.token_classes import NUM_CLASSES


class ClassSums(NamedTuple):
    """Sums per token class, of JAX or NumPy arrays; two of them add up field by field."""

    nll: jt.Float[Any, " C"]
    """Sum of the negative log-likelihood, in nats, of the targets whose loss was computed."""
    measured: jt.Num[Any, " C"]
    """Number of those targets."""
    targets: jt.Num[Any, " C"]
    """Number of all targets."""


def class_sums(
    token_losses: jt.Float32[jt.Array, "B L"],
    target_classes: jt.Integer[jt.Array, "B L"],
    is_target: jt.Bool[jt.Array, "B L"],
    weights: jt.Float32[jt.Array, "B L"],
) -> ClassSums:
    """Sum losses by the class of the target; a loss counts as computed where its weight is above 0."""

    def by_class(values: jax.Array) -> jax.Array:
        # A comparison, not a scatter: C is small, and it shards like any elementwise product.
        is_class = target_classes[..., None] == jnp.arange(NUM_CLASSES)
        return jnp.sum(jnp.where(is_class, values[..., None], 0), axis=(0, 1))

    measured = is_target & (weights > 0)
    return ClassSums(
        nll=by_class(jnp.where(measured, token_losses, 0.0)),
        measured=by_class(measured.astype(jnp.int32)),
        targets=by_class(is_target.astype(jnp.int32)),
    )
