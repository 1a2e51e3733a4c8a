"""Queries in blocks, each against the keys that it can reach. Works everywhere; the choice on CPUs.

Causality leaves about half of the scores, a sliding window fewer. No scores are kept from the forward to the
backward pass, which makes them again from the log of each softmax's denominator (FlashAttention-2, arXiv:
2307.08691, algorithm 2). Rows are taken one after the other: the scores of one stay in the cache of a CPU,
where those of a batch would wait for memory. Written out because JAX's own attention, block by block under
`jax.checkpoint`, takes 1.4 times as long in float32 and 1.8 times in bfloat16.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.ad_checkpoint import checkpoint_name

from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.spec import ATTENDED, AttentionSpec

BLOCK = 256
"""Queries in a block, at least."""
MOST_BLOCKS = 8
"""Blocks of a row, at most: each is compiled by itself. Eight do 9/16 of the work of all scores."""


class _Segments(NamedTuple):
    """Of the queries of a block, and of the keys that they can reach, in all rows or in one.

    Cut before the loop over rows: cut inside it, XLA on a CPU reads them one by one, for every score.
    """

    queries: jt.Int[jax.Array, "*B Q"]
    keys: jt.Int[jax.Array, "*B S"]


class _Block(NamedTuple):
    """Queries `start` to `end` see no key before `first`, and none after `end`."""

    start: int
    end: int
    first: int

    def segments(self, segments: jt.Int[jax.Array, "B L"]) -> _Segments:
        return _Segments(segments[:, self.start : self.end], segments[:, self.first : self.end])


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    spec: AttentionSpec,
    block: int | None = None,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention of `block` queries at a time (None: as the constants say); the last block may be smaller."""
    block = block or max(BLOCK, math.ceil(query.shape[1] / MOST_BLOCKS))
    return _attend(query, key, value, segments, spec, block)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array,
    spec: AttentionSpec,
    block: int,
) -> jax.Array:
    return _forward(query, key, value, segments, spec, block)[0]


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array,
    spec: AttentionSpec,
    block: int,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    def row(inputs: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        return _row_forward(*inputs, spec=spec, blocks=blocks)

    blocks = _blocks(query.shape[1], spec.window, block)
    # Tied to the queries: a scan over layers would make what is the same in all of them once, here the masks
    # of all rows and heads together, and keep it.
    tied = jax.lax.optimization_barrier((segments, query))[0]
    mixed, log_sums = jax.lax.map(row, (query, key, value, [block.segments(tied) for block in blocks]))
    mixed, log_sums = checkpoint_name((mixed.astype(query.dtype), log_sums), ATTENDED)
    return mixed, (query, key, value, segments, mixed, log_sums)


def _backward(
    spec: AttentionSpec, block: int, saved: tuple[jax.Array, ...], d_mixed: jax.Array
) -> tuple[jax.Array | None, ...]:
    def row(inputs: tuple[Any, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _row_backward(*inputs, spec=spec, blocks=blocks)

    query, key, value, segments, mixed, log_sums = saved
    blocks = _blocks(query.shape[1], spec.window, block)
    of_blocks = [block.segments(segments) for block in blocks]
    gradients = jax.lax.map(row, (query, key, value, of_blocks, mixed, log_sums, d_mixed))
    return (*(d.astype(x.dtype) for d, x in zip(gradients, (query, key, value), strict=True)), None)


_attend.defvjp(_forward, _backward)


def _row_forward(
    query: jt.Float[jax.Array, "L H K"],
    key: jt.Float[jax.Array, "L G K"],
    value: jt.Float[jax.Array, "L G K"],
    segments: list[_Segments],
    *,
    spec: AttentionSpec,
    blocks: list[_Block],
) -> tuple[jt.Float32[jax.Array, "L H K"], jt.Float32[jax.Array, "G r L"]]:
    """The mix of values, and the log of each softmax's denominator; r query heads share a key head.

    In float32 whatever the values: XLA on a CPU writes a row of a narrower array by writing all of it.
    """
    groups, size = key.shape[1:]
    queries = _by_group(spec.scaled(query).astype(query.dtype), groups)
    key_columns, values = key.transpose(1, 2, 0), value.transpose(1, 0, 2)
    mixed, log_sums = [], []
    for (start, end, first), of_block in zip(blocks, segments, strict=True):
        shape = (groups, -1, end - start, end - first)
        scores = _product(_flat(queries[:, :, start:end]), key_columns[:, :, first:end]).reshape(shape)
        age = jnp.arange(start, end)[:, None] - jnp.arange(first, end)
        seen = in_reach(age, spec.window) & (of_block.queries[:, None] == of_block.keys)
        scores = jnp.where(seen, spec.capped(scores), -jnp.inf)
        top = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        part = _product(_flat(weights.astype(value.dtype)), values[:, first:end])
        mixed.append(part.reshape(*shape[:3], size) / total)
        log_sums.append((top + jnp.log(total))[..., 0])
    together = jnp.concatenate(mixed, axis=2)
    return together.transpose(2, 0, 1, 3).reshape(query.shape), jnp.concatenate(log_sums, axis=2)


def _row_backward(
    query: jt.Float[jax.Array, "L H K"],
    key: jt.Float[jax.Array, "L G K"],
    value: jt.Float[jax.Array, "L G K"],
    segments: list[_Segments],
    mixed: jt.Float[jax.Array, "L H K"],
    log_sums: jt.Float32[jax.Array, "G r L"],
    d_mixed: jt.Float[jax.Array, "L H K"],
    *,
    spec: AttentionSpec,
    blocks: list[_Block],
) -> tuple[jt.Float32[jax.Array, "L H K"], jt.Float32[jax.Array, "L G K"], jt.Float32[jax.Array, "L G K"]]:
    """Gradients of query, key and value, in float32 as the mix is. Scores are made with keys as rows, so that
    no product needs a transpose of anything as large as they are."""
    length, groups, size = key.shape
    queries, d_mixes = _by_group(spec.scaled(query).astype(query.dtype), groups), _by_group(d_mixed, groups)
    keys, values, key_columns = key.transpose(1, 0, 2), value.transpose(1, 0, 2), key.transpose(1, 2, 0)
    # Every score's gradient is p * (d_p - sum over keys of p * d_p), and that sum is mixed . d_mixed.
    means = jnp.sum(d_mixes.astype(jnp.float32) * _by_group(mixed, groups).astype(jnp.float32), axis=-1)
    d_keys, d_values = (jnp.zeros((groups, length, size), jnp.float32) for _ in range(2))
    d_queries = []
    for (start, end, first), of_block in zip(blocks, segments, strict=True):
        shape = (groups, end - first, -1, end - start)
        some, d_some = _flat(queries[:, :, start:end]), _flat(d_mixes[:, :, start:end])
        scores = spec.capped(_product(keys[:, first:end], some.mT).reshape(shape))
        d_weights = _product(values[:, first:end], d_some.mT).reshape(shape)
        age = jnp.arange(start, end) - jnp.arange(first, end)[:, None]
        seen = in_reach(age, spec.window) & (of_block.queries == of_block.keys[:, None])
        exponents = scores - log_sums[:, None, :, start:end]
        weights = jnp.exp(jnp.where(seen[:, None], exponents, -jnp.inf))
        d_scores = spec.gradient_before_cap(weights * (d_weights - means[:, None, :, start:end]), scores)
        d_scores = d_scores.astype(key.dtype).reshape(*shape[:2], -1)
        weights = weights.astype(value.dtype).reshape(*shape[:2], -1)
        d_values = d_values.at[:, first:end].add(_product(weights, d_some))
        d_keys = d_keys.at[:, first:end].add(_product(d_scores, some))
        part = _product(key_columns[:, :, first:end], d_scores)
        d_queries.append(part.reshape(groups, size, -1, end - start))
    d_query = jnp.concatenate(d_queries, axis=-1).transpose(3, 0, 2, 1).reshape(query.shape)
    return spec.scaled(d_query), d_keys.transpose(1, 0, 2), d_values.transpose(1, 0, 2)


def _blocks(length: int, window: int | None, block: int) -> list[_Block]:
    starts = range(0, length, block)
    reach = length if window is None else window
    return [_Block(start, min(start + block, length), max(0, start - reach + 1)) for start in starts]


def _by_group(x: jt.Float[jax.Array, "L H K"], groups: int) -> jt.Float[jax.Array, "G r L K"]:
    """Heads sorted by the key head that they read."""
    return x.reshape(x.shape[0], groups, -1, x.shape[-1]).transpose(1, 2, 0, 3)


def _flat(x: jt.Float[jax.Array, "G r M K"]) -> jt.Float[jax.Array, "G rM K"]:
    """The queries of all heads of a group as rows of one matrix."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _product(a: jt.Float[jax.Array, "G M K"], b: jt.Float[jax.Array, "G K N"]) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
