"""Greedy decoding with a cache of keys and values."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.models.cache import Cache
from im_jax.models.decoder import DEFAULT_RULES, Decoder, Params, decoder_graph
from im_jax.models.sharding import ShardingRules


class Decoded(NamedTuple):
    """Prompts with their continuations."""

    tokens: jt.Int[jax.Array, "B T"]
    """T = L + max_new_tokens: the prompt, what was decoded (a stop token included), then 0."""
    lengths: jt.Int[jax.Array, " B"]
    """Tokens of each row, prompt included."""


class _Loop(NamedTuple):
    tokens: jax.Array  # [B, T], each row's prompt ends in the same column
    lengths: jax.Array  # [B]
    hidden: jax.Array  # [B, D], of each row's last token
    cache: Cache
    stopped: jax.Array  # [B] bool
    step: jax.Array


def greedy(
    params: Params,
    config: ModelConfig,
    tokens: jt.Int[jax.Array | np.ndarray, "B L"],
    lengths: jt.Int[jax.Array | np.ndarray, " B"],
    max_new_tokens: int,
    stop_ids: Sequence[int],
    rules: ShardingRules = DEFAULT_RULES,
) -> Decoded:
    """Continues each prompt with its most likely token until a stop token or `max_new_tokens`.

    Compiled once for a model, B, L, `max_new_tokens` and number of `stop_ids`. Ends early when all rows
    have stopped. Ties go to the smaller id.

    Args:
        params: parameters of the decoder.
        config: its configuration.
        tokens: prompts, left-aligned; what follows a prompt's end in its row is ignored.
        lengths: length of each prompt, 1 to L.
        max_new_tokens: how many tokens are decoded at most.
        stop_ids: tokens that end a row; may be empty.
        rules: sharding of activations under the mesh that `jax.set_mesh` set.

    Raises:
        ValueError: a length is not in 1 to L, or the model has learned no positions that far.
    """
    if np.min(lengths) < 1 or np.max(lengths) > tokens.shape[1]:
        raise ValueError(f"lengths must be between 1 and L={tokens.shape[1]}; they are {np.asarray(lengths)}")
    if config.positions == "learned" and tokens.shape[1] + max_new_tokens > config.max_positions:
        raise ValueError(
            f"L={tokens.shape[1]} and max_new_tokens={max_new_tokens} exceed the {config.max_positions} "
            "learned positions of the model (model.max_positions); shorten one of them"
        )
    graph = decoder_graph(config, rules)
    prompts, stop = jnp.asarray(tokens, jnp.int32), jnp.asarray(stop_ids, jnp.int32)
    return _greedy(graph, params, prompts, jnp.asarray(lengths, jnp.int32), stop, max_new_tokens)


@functools.partial(jax.jit, static_argnames=("graph", "max_new_tokens"))
def _greedy(
    graph: nnx.GraphDef[Decoder],
    params: Params,
    prompts: jax.Array,
    lengths: jax.Array,
    stop_ids: jax.Array,
    max_new_tokens: int,
) -> Decoded:
    decoder = nnx.merge(graph, params)
    head = decoder.head_matrix().astype(decoder.compute_dtype)
    batch, prompt_length = prompts.shape
    total, starts = prompt_length + max_new_tokens, prompt_length - lengths

    def step(loop: _Loop) -> _Loop:
        logits = jnp.matmul(loop.hidden, head, preferred_element_type=jnp.float32)
        # A row that has stopped goes on with 0.
        token = jnp.where(loop.stopped, 0, jnp.argmax(logits, axis=-1)).astype(jnp.int32)[:, None]
        slot = prompt_length + loop.step
        tokens = jax.lax.dynamic_update_slice(loop.tokens, token, (0, slot))
        hidden, cache = decoder.decode(token, slot, starts, loop.cache)
        stopped = loop.stopped | jnp.isin(token[:, 0], stop_ids)
        return _Loop(tokens, loop.lengths + ~loop.stopped, hidden[:, 0], cache, stopped, loop.step + 1)

    def unfinished(loop: _Loop) -> jax.Array:
        return (loop.step < max_new_tokens) & ~jnp.all(loop.stopped)

    aligned = _shift(prompts, -starts)
    hidden, cache = decoder.decode(aligned, jnp.int32(0), starts, decoder.new_cache(batch, total))
    tokens = jnp.pad(aligned, ((0, 0), (0, max_new_tokens)))
    loop = _Loop(tokens, lengths, hidden[:, -1], cache, jnp.zeros(batch, bool), jnp.int32(0))
    done = jax.lax.while_loop(unfinished, step, loop)
    return Decoded(_shift(done.tokens, starts), done.lengths)


def _shift(tokens: jt.Int[jax.Array, "B T"], by: jt.Int[jax.Array, " B"]) -> jt.Int[jax.Array, "B T"]:
    """Each row moved `by` columns to the left (to the right, if negative), with 0 where nothing was."""
    width = tokens.shape[1]
    columns = jnp.arange(width) + by[:, None]
    moved = jnp.take_along_axis(tokens, jnp.clip(columns, 0, width - 1), axis=1)
    return jnp.where((columns >= 0) & (columns < width), moved, 0)


def stream(
    params: Params,
    config: ModelConfig,
    prompt: jt.Int[np.ndarray, " L"],
    rows: int,
    max_new_tokens: int,
    rules: ShardingRules = DEFAULT_RULES,
) -> Iterator[int]:
    """The tokens of `greedy` for one prompt, each as soon as it is known; nothing ends them but their number.

    Compiled once for a model, `rows`, `max_new_tokens` and power of two that holds the prompt.

    Args:
        params: parameters of the decoder.
        config: its configuration.
        prompt: at least one token.
        rows: copies of the prompt, one for each device that has rows of its own.
        max_new_tokens: how many tokens are decoded at most.
        rules: sharding of activations under the mesh that `jax.set_mesh` set.
    """
    width = 1 << (len(prompt) - 1).bit_length()
    graph, starts = decoder_graph(config, rules), jnp.full(rows, width - len(prompt), jnp.int32)
    aligned = np.tile(np.pad(prompt.astype(np.int32), (width - len(prompt), 0)), (rows, 1))
    token, cache = _begin(graph, params, aligned, starts, max_new_tokens)
    yield int(token[0, 0])
    for slot in range(width, width + max_new_tokens - 1):
        token, cache = _go_on(graph, params, token, jnp.int32(slot), starts, cache)
        yield int(token[0, 0])


@functools.partial(jax.jit, static_argnames=("graph", "max_new_tokens"))
def _begin(
    graph: nnx.GraphDef[Decoder], params: Params, prompts: jax.Array, starts: jax.Array, max_new_tokens: int
) -> tuple[jax.Array, Cache]:
    decoder = nnx.merge(graph, params)
    cache = decoder.new_cache(prompts.shape[0], prompts.shape[1] + max_new_tokens)
    hidden, cache = decoder.decode(prompts, jnp.int32(0), starts, cache)
    return _most_likely(decoder, hidden), cache


@functools.partial(jax.jit, static_argnames="graph", donate_argnames="cache")
def _go_on(
    graph: nnx.GraphDef[Decoder],
    params: Params,
    token: jax.Array,
    slot: jax.Array,
    starts: jax.Array,
    cache: Cache,
) -> tuple[jax.Array, Cache]:
    decoder = nnx.merge(graph, params)
    hidden, cache = decoder.decode(token, slot, starts, cache)
    return _most_likely(decoder, hidden), cache


def _most_likely(decoder: Decoder, hidden: jax.Array) -> jax.Array:
    head = decoder.head_matrix().astype(decoder.compute_dtype)
    logits = jnp.matmul(hidden[:, -1:], head, preferred_element_type=jnp.float32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
