"""Attention of some queries of each row to all of its keys: `blocks`, for the rows that carry loss.

The queries of all rows lie one after the other, in the order of their tokens. A row's are taken some at a
time, as many as there are: how many is data. Scores and gradients are made as in `blocks`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.ad_checkpoint import checkpoint_name

from im_jax.loops import bounded_loop
from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.spec import ATTENDED, AttentionSpec

BLOCK: Final = 64
"""Queries in a block. One that a row does not fill costs as much as a full one."""


class _Tokens(NamedTuple):
    """What the loops know about the queries and the keys."""

    columns: jt.Int[jax.Array, " C"]
    """Where in its row each query's token is."""
    segments: jt.Int[jax.Array, " C"]
    """Of each query's token."""
    first: jt.Int[jax.Array, " B"]
    """Of each row's queries."""
    end: jt.Int[jax.Array, " B"]
    key_segments: jt.Int[jax.Array, "B L"]


def attend(
    query: jt.Float[jax.Array, "1 C H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    order: jt.Int[jax.Array, "1 C"],
    *,
    spec: AttentionSpec,
    block: int | None = None,
) -> jt.Float[jax.Array, "1 C H K"]:
    """Attention of the queries of some tokens, differentiable by query, key and value.

    Args:
        query: as `segment_attention` takes them, of the tokens that `order` names.
        key: of all tokens.
        value: of all tokens.
        segments: of all tokens.
        order: places of the queries' tokens among the B x L, ascending; B x L or more behind the last.
        spec: what is computed.
        block: queries that are taken at a time (None: as the constant says).

    Returns:
        The mix of values of each query; zeros behind the last.
    """
    rows, length = segments.shape
    order = order[0]
    place = jnp.minimum(order, rows * length - 1)
    edges = jnp.searchsorted(order, jnp.arange(rows + 1) * length)
    tokens = _Tokens(place % length, segments.reshape(-1)[place], edges[:-1], edges[1:], segments)
    return _attend(query[0], key, value, tokens, spec, min(block or BLOCK, order.size))[None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(
    query: jax.Array, key: jax.Array, value: jax.Array, tokens: _Tokens, spec: AttentionSpec, block: int
) -> jax.Array:
    return _forward(query, key, value, tokens, spec, block)[0]


def _forward(
    query: jt.Float[jax.Array, "C H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    tokens: _Tokens,
    spec: AttentionSpec,
    block: int,
) -> tuple[jax.Array, tuple[Any, ...]]:
    """The mixes, and with them as residuals the log of each softmax's denominator, [C, G, r]; r query heads
    share a key head."""
    _, length, groups, size = key.shape
    scaled = spec.scaled(query).astype(query.dtype)

    def row(done: Any, inputs: Any) -> tuple[Any, None]:
        key, value, of_row = inputs
        key_columns, values = key.transpose(1, 2, 0), value.transpose(1, 0, 2)

        def step(at: jax.Array, mine: jax.Array, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            shape = (groups, -1, block, length)
            scores = _product(_by_group(_slice(scaled, at, block), groups), key_columns).reshape(shape)
            # Whose queries are not of this row see all of it, or there would be no softmax.
            seen = _seen(tokens, of_row, at, block, spec) | ~mine[:, None]
            scores = jnp.where(seen, spec.capped(scores), -jnp.inf)
            top = jnp.max(scores, axis=-1, keepdims=True)
            weights = jnp.exp(scores - top)
            total = jnp.sum(weights, axis=-1, keepdims=True)
            part = _product(weights.astype(value.dtype).reshape(groups, -1, length), values)
            part = (part.reshape(*shape[:3], size) / total).transpose(2, 0, 1, 3)
            log_sum = (top + jnp.log(total))[..., 0].transpose(2, 0, 1)
            return tuple(map(functools.partial(_update, at, mine), done, (part, log_sum)))

        return _over_blocks(of_row, block, query.shape[0], step, done), None

    by_group = (query.shape[0], groups, query.shape[1] // groups)
    empty = jnp.zeros((*by_group, size), query.dtype), jnp.zeros(by_group, jnp.float32)
    (mixed, log_sums), _ = jax.lax.scan(row, empty, (key, value, _by_row(tokens)))
    mixed, log_sums = checkpoint_name((mixed.reshape(query.shape), log_sums), ATTENDED)
    return mixed, (query, key, value, tokens, mixed, log_sums)


def _backward(
    spec: AttentionSpec, block: int, saved: tuple[Any, ...], d_mixed: jax.Array
) -> tuple[jax.Array | None, ...]:
    query, key, value, tokens, mixed, log_sums = saved
    _, length, groups, size = key.shape
    scaled = spec.scaled(query).astype(query.dtype)
    # Every score's gradient is p * (d_p - sum over keys of p * d_p), and that sum is mixed . d_mixed.
    means = jnp.sum(d_mixed.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1)
    means = means.reshape(log_sums.shape)

    def row(d_query: jax.Array, inputs: tuple[Any, ...]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        key, value, of_row = inputs
        keys, values, key_columns = (
            key.transpose(1, 0, 2),
            value.transpose(1, 0, 2),
            key.transpose(1, 2, 0),
        )

        def step(at: jax.Array, mine: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            d_query, d_keys, d_values = sums
            shape = (groups, length, -1, block)
            some, d_some = (_by_group(_slice(x, at, block), groups) for x in (scaled, d_mixed))
            log_sum, mean = (_slice(x, at, block).transpose(1, 2, 0)[:, None] for x in (log_sums, means))
            scores = spec.capped(_product(keys, some.mT).reshape(shape))
            d_weights = _product(values, d_some.mT).reshape(shape)
            seen = (_seen(tokens, of_row, at, block, spec) & mine[:, None]).T[:, None]
            weights = jnp.where(seen, jnp.exp(scores - log_sum), 0)
            d_scores = spec.gradient_before_cap(weights * (d_weights - mean), scores)
            d_scores = d_scores.astype(key.dtype).reshape(groups, length, -1)
            weights = weights.astype(value.dtype).reshape(groups, length, -1)
            part = _product(key_columns, d_scores).reshape(groups, size, -1, block)
            d_query = _update(at, mine, d_query, part.transpose(3, 0, 2, 1))
            return d_query, d_keys + _product(d_scores, some), d_values + _product(weights, d_some)

        zeros = jnp.zeros((groups, length, size), jnp.float32)
        sums = _over_blocks(of_row, block, query.shape[0], step, (d_query, zeros, zeros))
        d_key, d_value = (x.transpose(1, 0, 2).astype(key.dtype) for x in sums[1:])
        return sums[0], (d_key, d_value)

    empty = jnp.zeros((*log_sums.shape, size), jnp.float32)
    d_query, (d_key, d_value) = jax.lax.scan(row, empty, (key, value, _by_row(tokens)))
    return spec.scaled(d_query.reshape(query.shape)).astype(query.dtype), d_key, d_value, None


_attend.defvjp(_forward, _backward)


def _by_row(tokens: _Tokens) -> tuple[jax.Array, jax.Array, jax.Array]:
    return tokens.first, tokens.end, tokens.key_segments


def _over_blocks(
    of_row: tuple[jax.Array, ...],
    block: int,
    queries: int,
    step: Callable[[jax.Array, jax.Array, Any], Any],
    initial: Any,
) -> Any:
    """`state = step(at, mine, state)` for each block of a row's queries: where it begins, which are its own.

    The last block of the array begins earlier than asked, or it would not fit.
    """
    first, end, _ = of_row

    def trip(index: jax.Array, state: Any) -> Any:
        wanted = first + index * block
        at = jnp.minimum(wanted, queries - block)
        there = at + jnp.arange(block)
        return step(at, (there >= wanted) & (there < end), state)

    most = math.ceil(min(queries, of_row[2].size) / block)
    return bounded_loop((end - first + block - 1) // block, most, trip, initial)


def _seen(
    tokens: _Tokens, of_row: tuple[jax.Array, ...], at: jax.Array, block: int, spec: AttentionSpec
) -> jt.Bool[jax.Array, "b L"]:
    """Which keys of the row each query of a block sees, if it is of that row."""
    key_segments = of_row[2]
    columns, segments = (_slice(x, at, block)[:, None] for x in (tokens.columns, tokens.segments))
    return (segments == key_segments) & in_reach(columns - jnp.arange(key_segments.size), spec.window)


def _slice(x: jax.Array, at: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, at, size)


def _update(at: jax.Array, mine: jax.Array, whole: jax.Array, part: jax.Array) -> jax.Array:
    """`whole` with those rows of `part` that are wanted, from row `at` on."""
    old = _slice(whole, at, mine.size)
    kept = jnp.where(mine.reshape(-1, *[1] * (whole.ndim - 1)), part.astype(whole.dtype), old)
    return jax.lax.dynamic_update_slice_in_dim(whole, kept, at, 0)


def _by_group(x: jt.Float[jax.Array, "b H K"], groups: int) -> jt.Float[jax.Array, "G rb K"]:
    """The queries of all heads that read a key head, as rows of one matrix."""
    return (
        x.reshape(x.shape[0], groups, -1, x.shape[-1]).transpose(1, 2, 0, 3).reshape(groups, -1, x.shape[-1])
    )


def _product(a: jt.Float[jax.Array, "G M K"], b: jt.Float[jax.Array, "G K N"]) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
