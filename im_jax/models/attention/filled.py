"""One query a slot over the filled columns of a cache, block after block.

The number of blocks follows the longest slot, when it runs: one program serves all lengths. A block that a
slot has not reached changes nothing of what it has, to the bit, so a slot's result does not depend on how
long others are.
"""

from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.spec import AttentionSpec

BLOCK: Final = 64
"""Columns of a block; those of a cache are a multiple."""


def attend(
    query: jt.Float[jax.Array, "B 1 H K"],
    own_key: jt.Float[jax.Array, "B 1 G K"],
    own_value: jt.Float[jax.Array, "B 1 G K"],
    key: jt.Float[jax.Array, "layers B G S K"],
    value: jt.Float[jax.Array, "layers B G S K"],
    layer: jt.Int[jax.Array, ""],
    lengths: jt.Int[jax.Array, " B"],
    *,
    spec: AttentionSpec,
) -> jt.Float[jax.Array, "B 1 H K"]:
    """The mix of values of each slot's next token: it sees itself and its slot's columns before it.

    Args:
        query: of the next tokens.
        own_key: of the next tokens.
        own_value: of the next tokens.
        key: the cache's.
        value: the cache's.
        layer: which layer's are read.
        lengths: columns of each slot that are filled.
        spec: what attention computes.
    """
    batch, _, heads, size = query.shape
    groups = own_key.shape[2]
    grouped = spec.scaled(query).astype(query.dtype).reshape(batch, groups, heads // groups, size)
    scores = jnp.einsum("bgrk,bgk->bgr", grouped, own_key[:, 0], preferred_element_type=jnp.float32)
    most = spec.capped(scores)
    mixed = jnp.broadcast_to(own_value[:, 0, :, None].astype(jnp.float32), grouped.shape)

    def block(number: jax.Array, before: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        most, total, mixed = before
        first = number * BLOCK
        keys, values = (
            jax.lax.dynamic_slice(x, (layer, 0, 0, first, 0), (1, batch, groups, BLOCK, size))[0]
            for x in (key, value)
        )
        columns = first + jnp.arange(BLOCK)
        seen = (columns < lengths[:, None]) & in_reach(lengths[:, None] - columns, spec.window)
        scores = jnp.einsum("bgrk,bgsk->bgrs", grouped, keys, preferred_element_type=jnp.float32)
        scores = jnp.where(seen[:, None, None], spec.capped(scores), -jnp.inf)
        higher = jnp.maximum(most, jnp.max(scores, axis=-1))
        weights = jnp.exp(scores - higher[..., None])
        fades = jnp.exp(most - higher)
        more = jnp.einsum(
            "bgrs,bgsk->bgrk", weights.astype(values.dtype), values, preferred_element_type=jnp.float32
        )
        return higher, total * fades + jnp.sum(weights, axis=-1), mixed * fades[..., None] + more

    blocks = (jnp.max(lengths) + BLOCK - 1) // BLOCK
    begin = jnp.zeros_like(blocks)
    if spec.window is not None:
        begin = jnp.maximum(jnp.min(lengths) - spec.window, 0) // BLOCK
    _, total, mixed = jax.lax.fori_loop(begin, blocks, block, (most, jnp.ones_like(most), mixed))
    return (mixed / total[..., None]).astype(query.dtype).reshape(query.shape)
