"""One query a slot over the filled columns of a cache, block after block.

The number of blocks follows the longest slot, when it runs: one program serves all lengths. A block that a
slot has not reached changes nothing of what it has, to the bit, so a slot's result does not depend on how
long others are.
"""

import functools
from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.devices import platform
from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.spec import AttentionSpec

BLOCK: Final = 64
"""Columns of a block; those of a cache are a multiple."""
_GROUP_BYTES: Final = 2**18
"""Keys of a block that are read together on a CPU: they stay in a core's cache."""


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
    size = _group_size(key)
    one = functools.partial(_attend_group, key=key, value=value, layer=layer, spec=spec)
    if size == len(query):
        return one(query, own_key, own_value, lengths, first=0)

    def group(number: jax.Array, mixed: jax.Array) -> jax.Array:
        first = number * size
        rows = (jax.lax.dynamic_slice_in_dim(x, first, size) for x in (query, own_key, own_value, lengths))
        return jax.lax.dynamic_update_slice_in_dim(mixed, one(*rows, first=first), first, axis=0)

    return jax.lax.fori_loop(0, len(query) // size, group, jnp.zeros_like(query))


def _group_size(key: jt.Float[jax.Array, "layers B G S K"]) -> int:
    """Slots whose blocks are counted together, a power of two that divides all, or all.

    A CPU's time is that of reading the cache. In groups, few slots wait for the longest of them: with lengths
    of 900 for one in sixteen and 80 for the others, a third of the time. On several devices slots are spread.
    """
    _, slots, groups, _, size = key.shape
    if platform() != "cpu" or jax.sharding.get_abstract_mesh().size > 1:
        return slots
    fitting = max(1, _GROUP_BYTES // (groups * BLOCK * size * key.dtype.itemsize))
    power = 1 << (fitting.bit_length() - 1)
    return power if power < slots and slots % power == 0 else slots


def _attend_group(
    query: jt.Float[jax.Array, "P 1 H K"],
    own_key: jt.Float[jax.Array, "P 1 G K"],
    own_value: jt.Float[jax.Array, "P 1 G K"],
    lengths: jt.Int[jax.Array, " P"],
    *,
    key: jt.Float[jax.Array, "layers B G S K"],
    value: jt.Float[jax.Array, "layers B G S K"],
    layer: jt.Int[jax.Array, ""],
    first: jt.Int[jax.Array, ""] | int,
    spec: AttentionSpec,
) -> jt.Float[jax.Array, "P 1 H K"]:
    """Of the slots from `first` on."""
    slots, _, heads, size = query.shape
    groups = own_key.shape[2]
    grouped = spec.scaled(query).astype(query.dtype).reshape(slots, groups, heads // groups, size)
    scores = jnp.einsum("bgrk,bgk->bgr", grouped, own_key[:, 0], preferred_element_type=jnp.float32)
    most = spec.capped(scores)
    mixed = jnp.broadcast_to(own_value[:, 0, :, None].astype(jnp.float32), grouped.shape)

    def block(number: jax.Array, before: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        most, total, mixed = before
        column = number * BLOCK
        keys, values = (
            jax.lax.dynamic_slice(x, (layer, first, 0, column, 0), (1, slots, groups, BLOCK, size))[0]
            for x in (key, value)
        )
        columns = column + jnp.arange(BLOCK)
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
