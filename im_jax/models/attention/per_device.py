"""Kernels that the compiler cannot split: each device attends with its own rows and heads."""

from collections.abc import Callable
from typing import Any

import jax

from im_jax.models.attention.spec import Typed
from im_jax.models.sharding import ShardingRules

Attend = Callable[[jax.Array, jax.Array, jax.Array, Any], jax.Array]
"""`(query, key, value, tokens) -> mixed`; tokens are segments, or a pytree of arrays [B, L]."""


def per_device(
    attend: Attend,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    tokens: Any,
    rules: ShardingRules,
) -> jax.Array:
    """`attend` on each device of the mesh that `jax.set_mesh` set; on all arrays where none is set."""
    if jax.sharding.get_abstract_mesh().empty:
        return attend(query, key, value, tokens)
    heads = rules.spec(("batch", "length", "heads", "head_dim"))
    groups = rules.spec(("batch", "length", "kv_heads", "head_dim"))
    rows = rules.spec(("batch", "length"))
    # A Pallas call does not say over which axes its result varies, so this cannot be checked.
    sharded = jax.shard_map(attend, in_specs=(heads, groups, groups, rows), out_specs=heads, check_vma=False)
    return sharded(query, key, value, tokens)


def reason_against(query: Typed, key: Typed, rules: ShardingRules) -> str | None:
    """Why these arrays cannot be cut into a share for each device; None if they can."""
    parts = rules.parts
    for axis in ("length", "head_dim"):
        if parts(axis) > 1:
            return f"a device needs whole rows and heads, and the sharding rules split {axis!r}"
    if parts("heads") != parts("kv_heads"):
        return "a device needs the keys of its own heads, and the sharding rules split them differently"
    for axis, size in (("batch", query.shape[0]), ("kv_heads", key.shape[2])):
        if size % parts(axis):
            return (
                f"a device needs an equal share, and {axis!r} of size {size} does not divide by {parts(axis)}"
            )
    return None
