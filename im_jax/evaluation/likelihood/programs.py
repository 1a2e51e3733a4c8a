"""What devices run: a prefix goes on by some tokens; labels are read behind it."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx

from im_jax.evaluation.likelihood.objective import LabelScores
from im_jax.evaluation.likelihood.rows import Batch
from im_jax.losses.sharded import LossAxes, weighted_loss
from im_jax.models.attention.tree import Tree
from im_jax.models.cache import Cache
from im_jax.models.decoder import Decoder, Params
from im_jax.models.sharding import ShardingRules, constrain

_AXES = ("layers", "batch", "length", "kv_heads", "head_dim")


class Read(NamedTuple):
    """What was read of the states that a batch names."""

    logprobs: jt.Float32[jax.Array, "B L labels"]
    most_likely: jt.Int32[jax.Array, "B L"]


@functools.partial(jax.jit, static_argnames=("graph", "slots", "rules"))
def empty_prefix(graph: nnx.GraphDef[Decoder], params: Params, slots: int, rules: ShardingRules) -> Cache:
    """Room for the keys and values of a prefix, on all devices that share rows."""
    return _as_one_row(nnx.merge(graph, params).new_cache(1, slots), rules)


@functools.partial(jax.jit, static_argnames=("graph", "rules"), donate_argnames="prefix")
def extend(
    graph: nnx.GraphDef[Decoder],
    params: Params,
    tokens: jt.Int32[jax.Array, "R C"],
    positions: jt.Int32[jax.Array, "R C"],
    start: jt.Int32[jax.Array, ""],
    prefix: Cache,
    rules: ShardingRules,
) -> Cache:
    """A prefix of `start` tokens with C more; all rows have the same, one for each device that has rows."""
    ends = jnp.full_like(tokens, tokens.shape[1] - 1)
    _, own = nnx.merge(graph, params).in_trees(tokens, Tree(positions, ends, start), prefix)
    place = (0, 0, start, 0, 0)
    longer = (
        jax.lax.dynamic_update_slice(old, new[:, :1], place) for old, new in zip(prefix, own, strict=True)
    )
    return _as_one_row(Cache(*longer), rules)


@functools.partial(jax.jit, static_argnames=("graph", "slots", "softcap", "rules"))
def read(
    graph: nnx.GraphDef[Decoder],
    params: Params,
    batch: Batch,
    length: jt.Int32[jax.Array, ""],
    prefix: Cache,
    slots: int,
    softcap: float | None,
    rules: ShardingRules,
) -> Read:
    """What a batch asks for, behind the first `length` tokens of a prefix, which `slots` hold."""
    decoder = nnx.merge(graph, params)
    begun = Cache(*(x[:, :, :slots] for x in prefix))
    tree = Tree(batch.positions, batch.last, length)
    hidden, _ = decoder.in_trees(batch.tokens, tree, begun)
    hidden = jnp.take_along_axis(hidden, batch.columns[..., None], axis=1)
    axes = LossAxes(rules.mesh_axes("batch"), rules.mesh_axes("vocab"), rules.mesh_axes("embed"))
    _, (_, values) = weighted_loss(
        LabelScores(softcap),
        hidden.reshape(-1, hidden.shape[-1]),
        decoder.head_matrix(),
        batch.read.reshape(-1).astype(jnp.float32),
        batch.labels.reshape(-1, batch.labels.shape[-1]),
        axes=axes,
    )
    logprobs = jnp.stack(values.logprobs, axis=-1).reshape(batch.labels.shape)
    return Read(logprobs, values.most_likely.reshape(batch.read.shape))


def _as_one_row(cache: Cache, rules: ShardingRules) -> Cache:
    """Whole on every device but for heads."""
    axes = tuple("length" if axis == "batch" else axis for axis in _AXES)
    return Cache(*(constrain(x, axes, rules) for x in cache))
