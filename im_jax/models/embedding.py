"""The lookup of token embeddings, on one device or by columns of the table on several, and noise on them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.sharding import ShardingRules, constrain


class Noise(NamedTuple):
    """Uniform noise for the embeddings of some rows.

    What a row gets follows from its key alone: not from the rows beside it, nor from the mesh.
    """

    keys: jt.Key[jax.Array, " B"]
    bounds: jt.Float32[jax.Array, "B L"]
    """Largest absolute value of what is added to a component, by token."""


def noisy(
    x: jt.Float[jax.Array, "B L D"], noise: Noise, rules: ShardingRules
) -> jt.Float[jax.Array, "B L D"]:
    """Embeddings with noise, added in float32 and rounded once."""
    drawn = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], jnp.float32, -1.0, 1.0))(noise.keys)
    drawn = constrain(drawn, ("batch", "length", "act_embed"), rules)
    return (x.astype(jnp.float32) + drawn * noise.bounds[..., None]).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def look_up(
    table: jt.Float[jax.Array, "V D"],
    tokens: jt.Int[jax.Array, "B L"],
    dtype: str,
    rules: ShardingRules,
) -> jt.Float[jax.Array, "B L D"]:
    """`table[tokens]` in another type, whose gradients add up in float32.

    A frequent token has its row read thousands of times in a batch: added up in bfloat16, most of that would
    be rounded away.

    Where each device keeps some columns of the table, it looks these up for the tokens of all devices, and
    they exchange columns for rows; the gradient goes back the same way. None holds a whole table or gradient.
    """
    if _by_columns(table.shape, tokens.shape, rules):
        return _exchanged(table, tokens, dtype, rules)
    # Narrowed, then gathered over fsdp: half the bytes travel, and the lookup is local to a shard.
    narrow = constrain(table.astype(dtype), ("vocab", "act_embed"), rules)
    return narrow[tokens]


def _forward(
    table: jax.Array, tokens: jax.Array, dtype: str, rules: ShardingRules
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # Of the table only shape and type are wanted; an array of no size carries them.
    return look_up(table, tokens, dtype, rules), (tokens, jnp.zeros((table.shape[0], 0), table.dtype))


def _backward(
    dtype: str, rules: ShardingRules, saved: tuple[jax.Array, jax.Array], d_rows: jax.Array
) -> tuple[jax.Array, None]:
    del dtype
    tokens, like = saved
    shape = (like.shape[0], d_rows.shape[-1])
    if _by_columns(shape, tokens.shape, rules):
        return _exchanged_gradient(shape, tokens, d_rows, like.dtype, rules), None
    zeros = jnp.zeros(shape, jnp.float32)
    d_table = constrain(zeros.at[tokens].add(d_rows.astype(jnp.float32)), ("vocab", "act_embed"), rules)
    return d_table.astype(like.dtype), None


look_up.defvjp(_forward, _backward)


def _by_columns(table: tuple[int, ...], tokens: tuple[int, ...], rules: ShardingRules) -> bool:
    """Whether columns of the table are split over devices that also split the rows of a batch, all evenly."""
    axes = {axis: set(rules.mesh_axes(axis)) for axis in ("embed", "batch", "length", "act_embed")}
    whole = not (axes["length"] or axes["act_embed"])
    sizes = zip(("vocab", "embed", "batch"), (*table, tokens[0]), strict=True)
    even = all(size % rules.parts(axis) == 0 for axis, size in sizes)
    return rules.parts("embed") > 1 and axes["embed"] <= axes["batch"] and whole and even


def _exchanged(table: jax.Array, tokens: jax.Array, dtype: str, rules: ShardingRules) -> jax.Array:
    columns, vocab = rules.mesh_axes("embed"), rules.mesh_axes("vocab")

    def shard(table: jax.Array, tokens: jax.Array) -> jax.Array:
        tokens = jax.lax.all_gather(tokens, columns, tiled=True)
        found = table.astype(dtype).at[_own(tokens, table.shape[0], vocab)].get(mode="fill", fill_value=0)
        rows = jax.lax.all_to_all(found, columns, split_axis=0, concat_axis=2, tiled=True)
        return jax.lax.psum(rows, vocab) if vocab else rows

    by_row = rules.spec(("batch",))
    kept = rules.spec(("vocab", "embed"))
    return jax.shard_map(shard, in_specs=(kept, by_row), out_specs=by_row, check_vma=False)(table, tokens)


def _exchanged_gradient(
    shape: tuple[int, int], tokens: jax.Array, d_rows: jax.Array, dtype: jnp.dtype, rules: ShardingRules
) -> jax.Array:
    columns, vocab, batch = (rules.mesh_axes(axis) for axis in ("embed", "vocab", "batch"))
    size, width = shape[0] // rules.parts("vocab"), shape[1] // rules.parts("embed")
    copies = tuple(axis for axis in batch if axis not in columns)

    def shard(tokens: jax.Array, d_rows: jax.Array) -> jax.Array:
        tokens = jax.lax.all_gather(tokens, columns, tiled=True)
        parts = jax.lax.all_to_all(d_rows, columns, split_axis=2, concat_axis=0, tiled=True)
        zeros = jnp.zeros((size, width), jnp.float32)
        total = zeros.at[_own(tokens, size, vocab)].add(parts.astype(jnp.float32), mode="drop")
        return (jax.lax.psum(total.astype(rules.reduce_dtype), copies) if copies else total).astype(dtype)

    by_row = rules.spec(("batch",))
    kept = rules.spec(("vocab", "embed"))
    return jax.shard_map(shard, in_specs=(by_row, by_row), out_specs=kept, check_vma=False)(tokens, d_rows)


def _own(tokens: jax.Array, size: int, vocab: tuple[str, ...]) -> jax.Array:
    """Row of each token in this device's part of the table; `size`, past its end, of those of other parts."""
    if not vocab:
        return tokens
    row = tokens - jax.lax.axis_index(vocab) * size
    return jnp.where((row >= 0) & (row < size), row, size)
