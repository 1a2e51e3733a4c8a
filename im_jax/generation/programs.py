"""What devices do: read prompts into slots, and decode all slots for some steps.

Compiled once for a model, a shape, and a length of prompts (a power of two): parameters of sampling, ends,
and which slots are in use are data.
"""

import functools
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx

from im_jax.generation.sampling import Knobs, draw
from im_jax.models.decoder import Decoder, Params
from im_jax.models.sharding import constrain
from im_jax.models.slot_cache import SlotCache

STEPS: Final = 32
"""Tokens that slots decode at most before the host looks at them."""


class Shape(NamedTuple):
    """What arrays have room for."""

    slots: int
    columns: int
    """Tokens of a sequence."""
    ends: int
    """Single tokens that end an answer."""
    logprobs: int
    """Most likely tokens that are told of each token; 0: none."""


class State(NamedTuple):
    """What the devices hold of all B slots."""

    cache: SlotCache
    tokens: jt.Int32[jax.Array, "B S"]
    """Prompts and answers."""
    prompts: jt.Int32[jax.Array, " B"]
    """Tokens of each prompt."""
    lengths: jt.Int32[jax.Array, " B"]
    """Tokens of each prompt and answer, all of which the cache has."""
    hidden: jt.Float[jax.Array, "B E"]
    """Of each slot's last token."""
    busy: jt.Bool[jax.Array, " B"]
    """Whether its answer goes on."""
    knobs: Knobs


class Prompts(NamedTuple):
    """P prompts for slots."""

    tokens: jt.Int32[Any, "P L"]
    lengths: jt.Int32[Any, " P"]
    slots: jt.Int32[Any, " P"]
    """Where they go; B: nowhere."""
    knobs: Knobs


class Steps(NamedTuple):
    """What some steps gave. Of column `t`, slot `b` has a token where `t < counts[b]`."""

    tokens: jt.Int32[Any, "B steps"]
    logprobs: jt.Float32[Any, "B steps"]
    """Of the tokens, by the model itself."""
    top: jt.Int32[Any, "B steps n"]
    """The most likely tokens."""
    top_logprobs: jt.Float32[Any, "B steps n"]
    counts: jt.Int32[Any, " B"]


@functools.partial(jax.jit, static_argnames=("graph", "shape"))
def begin(graph: nnx.GraphDef[Decoder], params: Params, shape: Shape) -> State:
    """Slots that hold nothing."""
    decoder = nnx.merge(graph, params)
    slots = shape.slots
    whole, number = jnp.zeros(slots, jnp.int32), jnp.zeros(slots, jnp.float32)
    flags, names = jnp.zeros(slots, bool), jnp.zeros(slots, jnp.uint32)
    knobs = Knobs(
        *(~flags, number + 1, number + 1, whole, number, number, number, number + 1, whole, whole),
        *(jnp.full((slots, shape.ends), -1, jnp.int32), names, names, names),
    )
    width = decoder.head_matrix().shape[0]
    state = State(
        decoder.new_slots(slots, shape.columns),
        jnp.zeros((slots, shape.columns), jnp.int32),
        *(whole, whole),
        jnp.zeros((slots, width), decoder.compute_dtype),
        flags,
        knobs,
    )
    return _placed(state, decoder)


@functools.partial(jax.jit, static_argnames="graph", donate_argnames="state")
def fill(graph: nnx.GraphDef[Decoder], params: Params, state: State, new: Prompts) -> State:
    """Prompts read into their slots, whose answers begin."""
    decoder = nnx.merge(graph, params)
    tokens = constrain(new.tokens, ("batch", "length"), decoder.rules)
    hidden, prompts = decoder.read_prompts(tokens, new.lengths)

    def into(old: jax.Array, rows: jax.Array) -> jax.Array:
        return old.at[new.slots].set(rows, mode="drop")

    filled = State(
        state.cache.with_prompts(prompts, new.slots, decoder.rules),
        state.tokens.at[new.slots, : tokens.shape[1]].set(tokens, mode="drop"),
        into(state.prompts, new.lengths),
        into(state.lengths, new.lengths),
        into(state.hidden, hidden),
        into(state.busy, jnp.ones(len(new.slots), bool)),
        Knobs(*map(into, state.knobs, new.knobs)),
    )
    return _placed(filled, decoder)


@functools.partial(jax.jit, static_argnames=("graph", "vocabulary", "logprobs"), donate_argnames="state")
def advance(
    graph: nnx.GraphDef[Decoder],
    params: Params,
    state: State,
    stopped: jt.Bool[jax.Array, " B"],
    enough: jt.Int32[jax.Array, ""],
    vocabulary: int,
    logprobs: int,
) -> tuple[State, Steps]:
    """Decodes all busy slots until `enough` of them have ended, all have, or `STEPS` are done.

    Args:
        graph: the decoder.
        params: its parameters.
        state: of the slots.
        stopped: slots whose answers the host has ended.
        enough: of the slots that are busy now, after how many ends it returns.
        vocabulary: ids from here on are never drawn: rows that fill up the embedding.
        logprobs: most likely tokens that are told.
    """
    decoder = nnx.merge(graph, params)
    state = state._replace(busy=state.busy & ~stopped)
    slots, knobs, rows = len(stopped), state.knobs, jnp.arange(len(stopped))
    begun = jnp.sum(state.busy)

    def step(carry: tuple[jax.Array, State, Steps]) -> tuple[jax.Array, State, Steps]:
        number, state, done = carry
        logits = decoder.logits(state.hidden)
        if vocabulary < logits.shape[-1]:
            logits = jnp.where(jnp.arange(logits.shape[-1]) < vocabulary, logits, -jnp.inf)
        token = draw(logits, knobs, state.tokens, state.prompts, state.lengths)
        total = jax.nn.logsumexp(logits, axis=-1)
        chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0] - total
        done = done._replace(
            tokens=done.tokens.at[:, number].set(token),
            logprobs=done.logprobs.at[:, number].set(chosen),
            counts=done.counts + state.busy,
        )
        if logprobs:
            values, ids = jax.lax.top_k(logits, logprobs)
            done = done._replace(
                top=done.top.at[:, number].set(ids.astype(jnp.int32)),
                top_logprobs=done.top_logprobs.at[:, number].set(values - total[:, None]),
            )
        # A slot that is not busy costs no column but its first, into which it writes what nobody reads.
        hidden, cache = decoder.go_on(token, jnp.where(state.busy, state.lengths, 0), state.cache)
        tokens = state.tokens.at[rows, state.lengths].set(token)
        lengths = state.lengths + state.busy
        ended = jnp.any(token[:, None] == knobs.ends, axis=-1) | (lengths - state.prompts >= knobs.limit)
        after = State(cache, tokens, state.prompts, lengths, hidden, state.busy & ~ended, knobs)
        return number + 1, _placed(after, decoder), done

    def unfinished(carry: tuple[jax.Array, State, Steps]) -> jax.Array:
        number, state, _ = carry
        busy = jnp.sum(state.busy)
        return (number < STEPS) & (busy > 0) & (begun - busy < enough)

    done = Steps(
        jnp.zeros((slots, STEPS), jnp.int32),
        jnp.zeros((slots, STEPS), jnp.float32),
        jnp.zeros((slots, STEPS, logprobs), jnp.int32),
        jnp.zeros((slots, STEPS, logprobs), jnp.float32),
        jnp.zeros(slots, jnp.int32),
    )
    _, state, done = jax.lax.while_loop(unfinished, step, (jnp.int32(0), state, done))
    return state, Steps(*(constrain(x, ("length",) * x.ndim, decoder.rules) for x in done))


def _placed(state: State, decoder: Decoder) -> State:
    """Slots over the devices that share rows."""

    def place(x: jax.Array) -> jax.Array:
        return constrain(x, ("batch", *("length",) * (x.ndim - 1)), decoder.rules)

    cache, *others = state
    return State(cache, *jax.tree.map(place, others))
