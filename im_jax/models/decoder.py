"""The decoder, of all families: flax.nnx modules inside, functions of a plain pytree at the edge.

Parameters are a nested dict of arrays; those of the blocks are stacked along a leading `layers` axis and
scanned over. Everything below `class Decoder` is what the rest of the package uses:

    params = jax.jit(functools.partial(init_params, config))(jax.random.key(0))
    hidden = hidden_states(params, config, tokens, segments, positions)   # [B, L, E]
    logits = hidden @ head_matrix(params, config)                         # [B, L, V]
"""

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx, traverse_util
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import rotary
from im_jax.models.adapters.dropout import RowKeys, keys_of_layers
from im_jax.models.attention.layer import Context
from im_jax.models.attention.tree import LayerPrefix, Tree
from im_jax.models.block import HIDDEN_AXES, rematerialised, stacked_blocks, unroll
from im_jax.models.cache import Cache, LayerCache, Seen, make_slots
from im_jax.models.embedding import Noise, look_up, noisy
from im_jax.models.finish import Finish, WidthMaps
from im_jax.models.kinds import Kind, kinds_of
from im_jax.models.last_block import LastBlock, large_enough
from im_jax.models.layers import make_norm, matrix
from im_jax.models.quantised.maps import check_blocks
from im_jax.models.sharding import ShardingRules, check_divisible, constrain
from im_jax.models.slot_cache import LayerPrompt, LayerSlots, SlotCache, empty_slots

Params = dict[str, Any]
"""Nested dict of arrays: `embedding` [V, E], `layers`, `final_norm`, `head` [E, V] if untied,
`position_embedding` [max_positions + offset, D] if positions are learned, and `width_maps` if E is not D."""

DEFAULT_RULES: Final = ShardingRules()
_ADAPTER: Final = 0x4C6F5241
"""Sets the draws of adapters apart."""

_graphs: Final[dict[tuple[Any, ShardingRules], nnx.GraphDef["Decoder"]]] = {}


class Decoder(nnx.Module):
    """Embedding, blocks and final norm. Its nnx graph is hashable and holds all that is not an array."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        if not isinstance(config.vocab_size, int):
            raise ConfigError("model.vocab_size is not resolved; set it, or take the tokenizer's size")
        shape = (config.vocab_size, config.embedding_width or config.embed_dim)
        self.embedding = matrix(shape, ("vocab", "embed"), config, rngs)
        self.layers = stacked_blocks(config, rules, rngs)
        if config.norm_places != "after_sum":
            self.final_norm = make_norm(config)
        if config.embedding_width is not None:
            self.width_maps = WidthMaps(config, rules, rngs=rngs)
        if not config.tie_embeddings:
            self.head = matrix(shape[::-1], ("embed", "vocab"), config, rngs)
        self.kinds = kinds_of(config)
        self.turnings: tuple[rotary.Turning, ...] = ()
        match config.positions:
            case "rotary":
                self.turnings = tuple(rotary.turning(config, table) for table in self.kinds.tables)
            case "learned":
                shape = (config.max_positions + config.position_offset, config.embed_dim)
                self.position_embedding = matrix(shape, ("positions", "embed"), config, rngs)
            case _:
                raise ConfigError(f"model.positions is {config.positions!r}; it can be rotary or learned")
        self.num_layers = config.num_layers
        self.compute_dtype = config.compute_dtype
        self.remat = config.remat
        self.sliding_window = config.sliding_window
        self.position_offset = config.position_offset
        self.embedding_scale = math.sqrt(config.embed_dim) if config.scale_embedding else None
        self.logit_cap = config.logit_cap
        self.rules = rules

    def __call__(
        self,
        tokens: jt.Int[jax.Array, "B L"],
        segments: jt.Int[jax.Array, "B L"],
        positions: jt.Int[jax.Array, "B L"],
        needed: jt.Bool[jax.Array, "B L"] | None = None,
        noise: Noise | None = None,
        drop: RowKeys | None = None,
    ) -> jt.Float[jax.Array, "B L E"]:
        """Hidden states as the head reads them, of all tokens or of those needed; see `hidden_states`."""
        context = Context(self._rotations(positions), segments)
        graph, stacked = nnx.split(self.layers)
        x = self._embed(tokens, positions, noise)

        def layer(x: jax.Array, inputs: tuple[Any, Kind | None, RowKeys | None]) -> tuple[jax.Array, None]:
            params, kind, drop = inputs
            here = context._replace(drop=drop)
            return nnx.merge(graph, params)(x, here, kind or self.kinds.of(0), None)[0], None

        def layers(stacked: Any, num_layers: int) -> jax.Array:
            drops = None if drop is None else keys_of_layers(drop, num_layers)
            inputs = stacked, self._scanned_kinds(num_layers), drops
            repeated = rematerialised(layer, self.remat)
            with jax.named_scope("layers"):  # by these names memory and time are told of
                return jax.lax.scan(repeated, x, inputs, num_layers, unroll=unroll(num_layers))[0]

        if (
            needed is None
            or drop is not None  # drawn for tokens in their places
            or not large_enough(stacked, self.num_layers)
            or not self.layers.attention.in_blocks(segments, self.compute_dtype)
        ):
            return self._finish(layers(stacked, self.num_layers))
        last, others = (jax.tree.map(operator.itemgetter(part), stacked) for part in (-1, slice(-1)))
        last_block = LastBlock(nnx.merge(graph, last), self._finish, self.kinds.of(-1))
        return last_block(layers(others, self.num_layers - 1), context, needed, self.remat)

    def decode(
        self,
        tokens: jt.Int[jax.Array, "B L"],
        slot: jt.Int[jax.Array, ""],
        starts: jt.Int[jax.Array, " B"],
        cache: Cache,
    ) -> tuple[jt.Float[jax.Array, "B L E"], Cache]:
        """Hidden states of further tokens of one sequence a row, and the cache with them added.

        Args:
            tokens: the next tokens of each row; L = 1 when decoding, the prompts' length before.
            slot: where the first of them goes in the cache, whose S slots must hold all L.
            starts: the slot at which each row's sequence starts. Tokens before it are padding, which no
                other token sees.
            cache: keys and values of all slots before, of all layers.
        """
        batch, length = tokens.shape
        positions = jnp.maximum(slot + jnp.arange(length) - starts[:, None], 0)
        slots = make_slots(slot, length, starts, cache.key.shape[2], self.sliding_window)
        context = Context(self._rotations(positions), jnp.ones((batch, length), jnp.int32))
        graph, stacked = nnx.split(self.layers)

        def layer(carry: tuple[jax.Array, Cache], inputs: tuple[Any, ...]) -> tuple[Any, None]:
            x, cache = carry
            params, number, kind = inputs
            here = LayerCache(cache, number, slots)
            x, used = nnx.merge(graph, params)(x, context, kind or self.kinds.of(0), here)
            return (x, used.cache), None

        inputs = stacked, jnp.arange(self.num_layers), self._scanned_kinds(self.num_layers)
        (x, cache), _ = jax.lax.scan(layer, (self._embed(tokens, positions), cache), inputs)
        return self._finish(x), cache

    def read_prompts(
        self, tokens: jt.Int[jax.Array, "P L"], lengths: jt.Int[jax.Array, " P"]
    ) -> tuple[jt.Float[jax.Array, "P E"], SlotCache]:
        """Hidden states of each prompt's last token, and keys and values of all, [layers, P, G, L, K].

        Args:
            tokens: prompts, left-aligned; what follows a prompt's end is ignored.
            lengths: of the prompts, 1 to L.
        """
        inside = jnp.arange(tokens.shape[1]) < lengths[:, None]
        positions = jnp.where(inside, jnp.arange(tokens.shape[1]), 0)
        context = Context(self._rotations(positions), inside.astype(jnp.int32))
        x = self._embed(jnp.where(inside, tokens, 0), positions)
        x, own = self._blocks(x, context, None, lambda _: LayerPrompt())
        last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)
        return self._finish(last)[:, 0], SlotCache(*(jnp.swapaxes(each, 2, 3) for each in own))

    def go_on(
        self, tokens: jt.Int[jax.Array, " B"], lengths: jt.Int[jax.Array, " B"], cache: SlotCache
    ) -> tuple[jt.Float[jax.Array, "B E"], SlotCache]:
        """Hidden states of the next token of each slot, and the cache with it in column `lengths`.

        Args:
            tokens: the next of each slot.
            lengths: tokens of each slot that the cache has, below its S columns.
            cache: of the tokens before.
        """
        context = Context(self._rotations(lengths[:, None]), jnp.ones((len(tokens), 1), jnp.int32))
        x, numbers = self._embed(tokens[:, None], lengths[:, None]), jnp.arange(self.num_layers)
        x, (key, value) = self._blocks(x, context, numbers, lambda number: LayerSlots(cache, number, lengths))
        return self._finish(x)[:, 0], cache.with_tokens(key[:, :, 0], value[:, :, 0], lengths, self.rules)

    def in_trees(
        self, tokens: jt.Int[jax.Array, "B L"], tree: Tree, prefix: Cache
    ) -> tuple[jt.Float[jax.Array, "B L E"], Cache]:
        """Hidden states of rows of trees behind a prefix, and the keys and values of their tokens.

        Args:
            tokens: of trees, depth first (`im_jax.models.attention.tree`).
            tree: where they stand.
            prefix: keys and values of what stands before all trees, as of one row, [layers, 1, S, G, K].
        """
        context = Context(self._rotations(tree.positions), jnp.ones_like(tokens))

        def behind(kept: Cache) -> LayerPrefix:
            return LayerPrefix(tree, kept.key[0], kept.value[0])

        x, own = self._blocks(self._embed(tokens, tree.positions), context, prefix, behind)
        return self._finish(x), Cache(*own)

    def _blocks(
        self, x: jax.Array, context: Context, of_layers: Any, sees: Callable[[Any], Seen]
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Hidden states behind all blocks, and the keys and values of their tokens, of all layers.

        Args:
            x: hidden states before them.
            context: of their tokens.
            of_layers: what differs between layers, with a leading axis of them.
            sees: of that of one layer, which keys and values its tokens see besides their own.
        """
        graph, stacked = nnx.split(self.layers)

        def layer(x: jax.Array, inputs: tuple[Any, ...]) -> tuple[jax.Array, Any]:
            params, mine, kind = inputs
            x, used = nnx.merge(graph, params)(x, context, kind or self.kinds.of(0), sees(mine))
            return x, used.own

        return jax.lax.scan(layer, x, (stacked, of_layers, self._scanned_kinds(self.num_layers)))

    def head_matrix(self) -> jt.Float[jax.Array, "E V"]:
        """The output head as it is kept; with tied embeddings, the embedding transposed."""
        return self.head[...] if hasattr(self, "head") else self.embedding[...].T

    def logits(self, hidden: jt.Float[jax.Array, "*batch E"]) -> jt.Float32[jax.Array, "*batch V"]:
        """All logits of hidden states, multiplied in the compute type."""
        head = self.head_matrix().astype(hidden.dtype)
        logits = jnp.matmul(hidden, head, preferred_element_type=jnp.float32)
        return logits if self.logit_cap is None else self.logit_cap * jnp.tanh(logits / self.logit_cap)

    def new_cache(self, batch: int, slots: int) -> Cache:
        """An empty cache for `slots` tokens a row, in the compute type."""
        shape = (self.num_layers, batch, slots, *self.layers.attention.groups)
        empty = jnp.zeros(shape, self.compute_dtype)
        return Cache(empty, empty)

    def new_slots(self, slots: int, columns: int) -> SlotCache:
        """Slots for sequences of `columns` tokens, a multiple of `filled.BLOCK`; in the compute type."""
        groups, size = self.layers.attention.groups
        shape = (self.num_layers, slots, groups, columns, size)
        return empty_slots(shape, self.compute_dtype, self.rules)

    @property
    def _finish(self) -> Finish:
        return Finish(getattr(self, "final_norm", None), getattr(self, "width_maps", None))

    def _scanned_kinds(self, num_layers: int) -> Kind | None:
        """What layers differ in; None where they do not."""
        return None if self.kinds.alike else self.kinds.scanned(num_layers)

    def _rotations(self, positions: jax.Array) -> tuple[rotary.Tables, ...]:
        return tuple(rotary.tables(positions, turning) for turning in self.turnings)

    def _embed(self, tokens: jax.Array, positions: jax.Array, noise: Noise | None = None) -> jax.Array:
        x = look_up(self.embedding[...], tokens, self.compute_dtype, self.rules)
        if self.embedding_scale is not None:
            x = x * jnp.asarray(self.embedding_scale, x.dtype)
        if noise is not None:
            x = noisy(x, noise, self.rules)
        if hasattr(self, "width_maps"):
            x = self.width_maps.project("into", x)
        if hasattr(self, "position_embedding"):
            # Looked up in the parameters' type, in which the gradients of all segments are then added up.
            table = constrain(self.position_embedding[...], ("positions", "act_embed"), self.rules)
            x = (x + table[positions + self.position_offset]).astype(self.compute_dtype)
        return constrain(x, HIDDEN_AXES, self.rules)


def abstract_decoder(config: ModelConfig, rules: ShardingRules = DEFAULT_RULES) -> Decoder:
    """The decoder with shapes in place of arrays."""
    return nnx.eval_shape(lambda: Decoder(config, rules, rngs=nnx.Rngs(0)))


def decoder_graph(config: ModelConfig, rules: ShardingRules = DEFAULT_RULES) -> nnx.GraphDef[Decoder]:
    """The decoder without its arrays: hashable; `nnx.merge(graph, params)` is the decoder.

    Made once for equal configurations: it takes as long as decoding some tokens of a small model does.
    """
    key = dataclasses.astuple(config), rules
    if key not in _graphs:
        _graphs[key] = nnx.graphdef(abstract_decoder(config, rules))
    return _graphs[key]


def init_params(config: ModelConfig, key: jax.Array) -> Params:
    """New parameters; jit it with `param_shardings` as `out_shardings` to make them in place.

    Matrices are normal with standard deviation 0.02, those that write to the residual stream smaller by
    sqrt(2 * num_layers), scales of norms 1, biases 0. Values depend on the key alone, whatever the sharding.
    Those of adapters are drawn apart, so that the others do not depend on whether there are any.
    """
    rngs = nnx.Rngs(key, adapter=jax.random.fold_in(key, _ADAPTER))
    return nnx.to_pure_dict(nnx.state(Decoder(config, DEFAULT_RULES, rngs=rngs)))


def abstract_params(config: ModelConfig) -> Params:
    """Parameters as `jax.ShapeDtypeStruct`."""
    return nnx.to_pure_dict(nnx.state(abstract_decoder(config)))


def logical_axes(config: ModelConfig) -> Params:
    """A tuple of logical axes for every parameter."""
    flat = {}
    for path, param in nnx.to_flat_state(nnx.state(abstract_decoder(config))):
        axes = param.get_metadata("logical_axes")
        flat[path] = ("layers", *axes) if path[0] == "layers" else axes
    return traverse_util.unflatten_dict(flat)


def param_shardings(
    config: ModelConfig, mesh: Mesh | AbstractMesh, rules: ShardingRules = DEFAULT_RULES
) -> Params:
    """A NamedSharding for every parameter; ConfigError if one cannot be cut into equal shards."""
    shapes, axes = abstract_params(config), logical_axes(config)
    check_blocks(shapes, axes, mesh, rules)
    check_divisible(shapes, axes, mesh, rules)
    return jax.tree.map(lambda _, names: NamedSharding(mesh, rules.spec(names)), shapes, axes)


def hidden_states(
    params: Params,
    config: ModelConfig,
    tokens: jt.Int[jax.Array, "B L"],
    segments: jt.Int[jax.Array, "B L"],
    positions: jt.Int[jax.Array, "B L"],
    rules: ShardingRules = DEFAULT_RULES,
    needed: jt.Bool[jax.Array, "B L"] | None = None,
    noise: Noise | None = None,
    drop: RowKeys | None = None,
) -> jt.Float[jax.Array, "B L E"]:
    """Hidden states after the final norm, as the head reads them, in the compute type.

    Tokens attend to their own segment only, so a packed row gives what its examples give alone. States
    of padding (segment 0) mean nothing but are finite.

    Args:
        params: of the whole decoder.
        config: the decoder.
        tokens: token ids.
        segments: which example of its row each token belongs to; 0 is padding.
        positions: in their examples.
        rules: how arrays lie on the mesh that `jax.set_mesh` set.
        needed: whose states are read (None: all). Where attention is computed in `blocks`, as on CPUs, the
            last block, if not small, then does no more than these need, and other states mean nothing but are
            finite.
        noise: added to the embeddings of the tokens, as the family scales them, before anything else.
        drop: by which adapters drop their inputs (None: they do not). Then nothing is saved by `needed`.
    """
    decoder = nnx.merge(decoder_graph(config, rules), params)
    return decoder(tokens, segments, positions, needed, noise, drop)


def head_matrix(params: Params, config: ModelConfig) -> jt.Float[jax.Array, "E V"]:
    """The output head in the type of the parameters; with tied embeddings, the embedding transposed."""
    return nnx.merge(decoder_graph(config), params).head_matrix()


def logits(
    params: Params,
    config: ModelConfig,
    tokens: jt.Int[jax.Array, "B L"],
    segments: jt.Int[jax.Array, "B L"],
    positions: jt.Int[jax.Array, "B L"],
    rules: ShardingRules = DEFAULT_RULES,
) -> jt.Float32[jax.Array, "B L V"]:
    """All logits, for small uses; training takes `hidden_states` to `linear_cross_entropy` instead."""
    decoder = nnx.merge(decoder_graph(config, rules), params)
    return decoder.logits(decoder(tokens, segments, positions))
