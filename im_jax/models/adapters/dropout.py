"""Dropout of an adapter's inputs, in training alone."""

from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

_STREAM: Final = 0x4C6F5241
"""Sets these draws apart from whatever else a step draws from its key."""

RowKeys = jt.Key[jax.Array, " B"]
"""One for each row of a batch. What a row drops follows from its key alone: not from the rows beside it, nor
from the mesh."""


def row_keys(key: jt.Key[jax.Array, ""], rows: int, rate: float) -> RowKeys | None:
    """Keys for all rows of an optimiser step, before it is cut into micro-batches; None where nothing is
    dropped.

    Args:
        key: of the step.
        rows: of the step.
        rate: share of the inputs that is dropped.
    """
    if not rate:
        return None
    stream = jax.random.fold_in(key, _STREAM)
    return jax.vmap(lambda row: jax.random.fold_in(stream, row))(jnp.arange(rows))


def keys_of_layers(keys: RowKeys, num_layers: int) -> jt.Key[jax.Array, "layers B"]:
    """The keys of each layer's rows."""
    by_layer = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))
    return by_layer(keys, jnp.arange(num_layers))


def dropped(
    x: jt.Float[jax.Array, "B L *rest"], keys: RowKeys, rate: float, number: int
) -> jt.Float[jax.Array, "B L *rest"]:
    """`x` with a share of its components at 0 and the others scaled up, so that the mean stays.

    Args:
        x: inputs of a map.
        keys: of this layer's rows.
        rate: the share.
        number: of the map in its layer, so that no two drop the same.
    """

    def keep(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, x.shape[1:])

    return jnp.where(jax.vmap(keep)(keys), x / (1 - rate), 0).astype(x.dtype)
