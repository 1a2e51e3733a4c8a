"""Attention in rows of trees behind a prefix: texts that begin alike are computed once where they are alike.

A tree of tokens lies in its row depth first, so that the descendants of a token follow it without a gap: a
token sees those before it whose last descendant it does not come after. A row may hold several trees. Before
all of them stands one prefix, whose keys and values all rows read and none has a copy of.
"""

import functools
import math
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.sharding import PartitionSpec

from im_jax.devices import platform
from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.spec import AttentionSpec
from im_jax.models.sharding import ShardingRules

_SCORES: Final = 2**26
"""Scores that an accelerator holds at once. A CPU takes row after row, so that they stay in its cache."""


class Tree(NamedTuple):
    """Where the tokens of some rows stand."""

    positions: jt.Int[jax.Array, "B L"]
    """Of each token in its text, which begins with the prefix."""
    last: jt.Int[jax.Array, "B L"]
    """Column of its last descendant; a leaf, and padding, has its own."""
    prefix: jt.Int[jax.Array, ""]
    """Tokens of the prefix; there may be room for more keys, which nothing sees."""


class LayerPrefix(NamedTuple):
    """What a layer reads of the prefix, and what it leaves of its own tokens."""

    tree: Tree
    key: jt.Float[jax.Array, "S G K"]
    value: jt.Float[jax.Array, "S G K"]
    own: tuple[jt.Float[jax.Array, "B L G K"], jt.Float[jax.Array, "B L G K"]] | None = None
    """Keys and values of the tokens, once they are known."""


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    prefix: LayerPrefix,
    *,
    spec: AttentionSpec,
    rules: ShardingRules,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention of every token to the prefix, to its ancestors and to itself, within the window of `spec`.

    Softmax in float32. On a mesh each device attends with its own rows and heads.
    """
    attend = functools.partial(_attend, spec=spec)
    arrays = (query, key, value, prefix.key, prefix.value, prefix.tree)
    if jax.sharding.get_abstract_mesh().empty:
        return attend(*arrays)
    heads, groups = (rules.spec(("batch", "length", axis, "head_dim")) for axis in ("heads", "kv_heads"))
    kept, rows = rules.spec(("length", "kv_heads", "head_dim")), rules.spec(("batch", "length"))
    tree = Tree(rows, rows, PartitionSpec())  # type: ignore[arg-type]  # specs in place of arrays
    return jax.shard_map(attend, in_specs=(heads, groups, groups, kept, kept, tree), out_specs=heads)(*arrays)


def _attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    prefix_key: jax.Array,
    prefix_value: jax.Array,
    tree: Tree,
    *,
    spec: AttentionSpec,
) -> jax.Array:
    (length, heads, size), (slots, groups) = query.shape[1:], prefix_key.shape[:2]
    prefix_columns, prefix_values = prefix_key.transpose(1, 2, 0), prefix_value.transpose(1, 0, 2)
    columns, at = jnp.arange(length), jnp.arange(slots)

    def row(inputs: tuple[jax.Array, ...]) -> jax.Array:
        query, key, value, positions, last = inputs
        queries = spec.scaled(query).astype(query.dtype).reshape(length, groups, -1, size)
        queries = queries.transpose(1, 2, 0, 3).reshape(groups, -1, size)

        def scores(keys: jax.Array, seen: jax.Array) -> jt.Float32[jax.Array, "G r L _"]:
            found = _product(queries, keys).reshape(groups, -1, length, keys.shape[-1])
            return jnp.where(seen, spec.capped(found), -jnp.inf)

        age = positions[:, None] - positions
        of_tree = (columns <= columns[:, None]) & (columns[:, None] <= last) & in_reach(age, spec.window)
        found = [(scores(key.transpose(1, 2, 0), of_tree), value.transpose(1, 0, 2))]
        if slots:
            of_prefix = (at < tree.prefix) & in_reach(positions[:, None] - at, spec.window)
            found.append((scores(prefix_columns, of_prefix), prefix_values))
        # Every token sees itself, so the highest score is finite.
        top = functools.reduce(jnp.maximum, (jnp.max(x, axis=-1, keepdims=True) for x, _ in found))
        total, mixed = jnp.float32(0), jnp.float32(0)
        for some, values in found:
            weights = jnp.exp(some - top)
            total += jnp.sum(weights, axis=-1, keepdims=True)
            part = _product(weights.astype(value.dtype).reshape(groups, -1, some.shape[-1]), values)
            mixed += part.reshape(*weights.shape[:3], size)
        return (mixed / total).transpose(2, 0, 1, 3).reshape(length, heads, size).astype(query.dtype)

    together = 1
    if platform() != "cpu":
        together = max(1, _SCORES // math.prod((heads, length, length + slots)))
    inputs = query, key, value, tree.positions, tree.last
    mixed: jax.Array = jax.lax.map(row, inputs, batch_size=together if together > 1 else None)
    return mixed


def _product(a: jt.Float[jax.Array, "G M K"], b: jt.Float[jax.Array, "G K N"]) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
