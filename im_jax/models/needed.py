"""Functions of tokens, applied to those alone that are needed; how many these are is data.

The tokens of a batch lie in pools, one for each group of devices that shares rows of the batch, so that no
token leaves its devices. Every pool takes its needed tokens together, a block at a time; the trips are those
of the pool that has most, so that all devices make the same.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.loops import bounded_loop
from im_jax.models import perturbed
from im_jax.models.sharding import ShardingRules

BLOCK: Final = 256
"""Tokens of a pool in a block, at most."""
MOST: Final = 0.5
"""Share of a pool that counts as few. Above it a function of all tokens is faster: the backward pass here
computes the forward pass again, and adds up the gradients of parameters block by block."""


class Needed(NamedTuple):
    """The needed tokens of P pools of M tokens."""

    order: jt.Int32[jax.Array, "P C"]
    """Their places in their pool, ascending, and M behind the last."""
    trips: jt.Int32[jax.Array, ""]
    """Blocks that hold those of every pool."""
    few: jt.Bool[jax.Array, ""]
    """Whether they are few in every pool; else not all are in `order`."""
    pool: jt.Bool[jax.Array, "P M"]
    """Which tokens are needed."""


class Inputs(NamedTuple):
    """What a function of tokens is given of each: pytrees of arrays."""

    spread: Any = ()
    """[P, M, ...], of all tokens; differentiated."""
    compact: Any = ()
    """[P, C, ...], of the needed tokens in order; differentiated."""
    data: Any = ()
    """[P, M, ...], of all tokens."""


Function = Callable[[Any, Inputs], jax.Array]
"""`f(params, inputs) -> [P, b, ...]`, of any b tokens of each pool, each by itself."""


def find(needed: jt.Bool[jax.Array, "B L"], rules: ShardingRules) -> Needed:
    """The needed tokens of a batch whose rows divide evenly as the rules say."""
    pool = in_pools(needed, rules)
    tokens = pool.shape[1]
    most, block = math.floor(MOST * tokens), _block(tokens)
    capacity = max(1, math.ceil(most / block)) * block

    def order(pool: jt.Bool[jax.Array, " M"]) -> jax.Array:
        return jnp.nonzero(pool, size=capacity, fill_value=tokens)[0].astype(jnp.int32)

    count = jnp.max(jnp.sum(pool, axis=1, dtype=jnp.int32))
    return Needed(jax.vmap(order)(pool), (count + block - 1) // block, count <= most, pool)


def in_pools(x: jt.Shaped[jax.Array, "B L *rest"], rules: ShardingRules) -> jt.Shaped[jax.Array, "P M *rest"]:
    """An array of all tokens, pool by pool."""
    mesh = jax.sharding.get_abstract_mesh().shape
    pools = math.prod(mesh.get(axis, 1) for axis in rules.mesh_axes("batch"))
    return x.reshape(pools, -1, *x.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def on_needed(f: Function, spread: bool, params: Any, inputs: Inputs, needed: Needed) -> jax.Array:
    """`f` of the needed tokens, if these are few; what it gives of others has no influence.

    Args:
        f: what is computed; closes over nothing that is traced.
        spread: whether the results go to their tokens' places, [P, M, ...], or stay compact, [P, C, ...].
        params: arrays that `f` takes whole; differentiated.
        inputs: of the tokens.
        needed: which they are.

    Returns:
        The results, and zeros where there are none.
    """

    def of_block(index: jax.Array | int) -> jax.Array:
        return f(params, _taken(inputs, needed, index))

    def trip(index: jax.Array, results: jax.Array) -> jax.Array:
        return _put(results, of_block(index), needed, index, spread)

    empty = _empty(jax.eval_shape(of_block, 0), needed, spread)
    return bounded_loop(needed.trips, _most_trips(needed), trip, empty)


def _forward(
    f: Function, spread: bool, params: Any, inputs: Any, needed: Any
) -> tuple[jax.Array, tuple[Any, Any, Inputs, Needed]]:
    whole = perturbed.values((params, inputs, needed))
    return on_needed(f, spread, *whole), (*perturbed.cut(params), *whole[1:])


def _backward(
    f: Function, spread: bool, saved: tuple[Any, Any, Inputs, Needed], d_results: Any
) -> tuple[Any, Inputs, None]:
    """Block by block, each computed again; gradients of parameters add up in float32."""
    trained, fixed, inputs, needed = saved
    d_results = perturbed.arrays(d_results)
    wide = jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), trained)

    def of_block(trained: Any, spread_inputs: Any, compact: Any, data: Any) -> jax.Array:
        return f(perturbed.joined(trained, fixed), Inputs(spread_inputs, compact, data))

    def trip(index: jax.Array, sums: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        taken = _taken(inputs, needed, index)
        pull = jax.vjp(functools.partial(of_block, data=taken.data), wide, taken.spread, taken.compact)[1]
        place = _slice(needed.order, index, needed)
        d_result = _at(d_results, place) if spread else _slice(d_results, index, needed)
        exists = place < needed.pool.shape[1]
        d_result = jnp.where(exists.reshape(*exists.shape, *[1] * (d_result.ndim - 2)), d_result, 0)
        d_params, d_spread, d_compact = pull(d_result)

        def put(spread: bool) -> Callable[[jax.Array, jax.Array], jax.Array]:
            return lambda whole, part: _put(whole, part, needed, index, spread)

        return (
            jax.tree.map(jnp.add, sums[0], d_params),
            jax.tree.map(put(True), sums[1], d_spread),
            jax.tree.map(put(False), sums[2], d_compact),
        )

    zeros = jax.tree.map(jnp.zeros_like, (wide, inputs.spread, inputs.compact))
    d_params, d_spread, d_compact = bounded_loop(needed.trips, _most_trips(needed), trip, zeros)
    d_params = jax.tree.map(lambda d, like: d.astype(like.dtype), d_params, trained)
    return d_params, Inputs(d_spread, d_compact, None), None


on_needed.defvjp(_forward, _backward, symbolic_zeros=True)


def _most_trips(needed: Needed) -> int:
    """Blocks of the tokens of a pool that are needed where they are few."""
    return needed.order.shape[1] // _block(needed.pool.shape[1])


def _block(tokens: int) -> int:
    """Tokens of a pool of that many that are taken at a time."""
    return min(BLOCK, max(1, tokens // 2))


def _taken(inputs: Inputs, needed: Needed, index: jax.Array | int) -> Inputs:
    """The inputs of a block of needed tokens."""
    place = _slice(needed.order, index, needed)
    return Inputs(
        spread=jax.tree.map(lambda x: _at(x, place), inputs.spread),
        compact=jax.tree.map(lambda x: _slice(x, index, needed), inputs.compact),
        data=jax.tree.map(lambda x: _at(x, place), inputs.data),
    )


def _slice(x: jt.Shaped[jax.Array, "P C *rest"], index: jax.Array | int, needed: Needed) -> jax.Array:
    block = _block(needed.pool.shape[1])
    return jax.lax.dynamic_slice_in_dim(x, index * block, block, axis=1)


def _at(x: jt.Shaped[jax.Array, "P M *rest"], place: jt.Int[jax.Array, "P b"]) -> jax.Array:
    """Of the tokens at these places. Behind the last needed token the pool's last stands in, which every
    function can be given."""
    return jax.vmap(lambda pool, place: pool.at[place].get(mode="clip"))(x, place)


def _put(whole: jax.Array, part: jax.Array, needed: Needed, index: jax.Array, spread: bool) -> jax.Array:
    """`whole` with a block of results, in their tokens' places or in order."""
    if not spread:
        return jax.lax.dynamic_update_slice_in_dim(whole, part, index * part.shape[1], axis=1)
    place = _slice(needed.order, index, needed)
    return jax.vmap(lambda pool, place, part: pool.at[place].set(part, mode="drop"))(whole, place, part)


def _empty(like: jax.ShapeDtypeStruct, needed: Needed, spread: bool) -> jax.Array:
    size = needed.pool.shape[1] if spread else needed.order.shape[1]
    return jnp.zeros((like.shape[0], size, *like.shape[2:]), like.dtype)
