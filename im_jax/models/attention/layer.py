"""Grouped-query attention that stays within a segment, or reads a cache of earlier tokens."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import rotary
from im_jax.models.adapters.dropout import RowKeys
from im_jax.models.attention import filled, full, tree
from im_jax.models.attention.dispatch import in_blocks, segment_attention
from im_jax.models.attention.spec import AttentionSpec
from im_jax.models.attention.tree import LayerPrefix
from im_jax.models.cache import LayerCache, MaybeCache
from im_jax.models.kinds import Kind
from im_jax.models.layers import RMSNorm
from im_jax.models.projections import Projections, residual_stddev
from im_jax.models.sharding import ShardingRules, constrain
from im_jax.models.sizes import head_dim
from im_jax.models.slot_cache import LayerPrompt, LayerSlots


class Context(NamedTuple):
    """What all layers share about the tokens: computed once, outside the scan."""

    rotations: tuple[rotary.Tables, ...]
    """One for each of `Kinds.tables`; none where positions are not rotary."""
    segments: jt.Int[jax.Array, "B L"]
    """Which example of its row each token belongs to; 0 is padding. A cache holds one example a row."""
    drop: RowKeys | None = None
    """By which a layer's adapters drop their inputs; None: they do not."""

    def rotation(self, kind: Kind) -> rotary.Tables | None:
        """What a layer's heads are turned by."""
        if not self.rotations or isinstance(kind.table, int):
            return self.rotations[kind.table] if self.rotations else None
        return jax.tree.map(lambda *tables: jax.lax.select_n(kind.table, *tables), *self.rotations)


class Attention(Projections):
    """Attention with H query heads over G key and value heads, H a multiple of G (arXiv:2305.13245)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        if config.num_heads % config.num_kv_heads:
            raise ConfigError(
                f"model.num_heads {config.num_heads} is not a multiple of model.num_kv_heads "
                f"{config.num_kv_heads}; change one of them"
            )
        self.heads = config.num_heads, head_dim(config)
        self.groups = config.num_kv_heads, head_dim(config)
        embed, size = {"embed": config.embed_dim}, {"head_dim": head_dim(config)}
        heads, groups = {"heads": config.num_heads} | size, {"kv_heads": config.num_kv_heads} | size
        self.add_map("query", embed, heads, config, rngs)
        self.add_map("key", embed, groups, config, rngs)
        self.add_map("value", embed, groups, config, rngs)
        self.add_map("output", heads, embed, config, rngs, stddev=residual_stddev(config))
        match config.head_norm:
            case "none":
                pass
            case "head":
                self.query_norm, self.key_norm = (RMSNorm(config, size) for _ in range(2))
            case "heads":
                self.query_norm, self.key_norm = RMSNorm(config, heads), RMSNorm(config, groups)
            case _:
                raise ConfigError(f"model.head_norm is {config.head_norm!r}; it can be none, head or heads")
        self.window = config.sliding_window
        self.whole = AttentionSpec(scale=config.attention_scale, softcap=config.score_cap)
        self.implementation = config.attention
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, kind: Kind, cache: MaybeCache
    ) -> tuple[jt.Float[jax.Array, "B L D"], MaybeCache]:
        """Attends within segments; with a cache, stores keys and values there and reads it; behind a prefix,
        attends to it and within trees."""
        rotation, drop = context.rotation(kind), context.drop
        query, (key, value) = self.queries(x, rotation, drop), self.keys_and_values(x, rotation, drop)
        match cache:
            case None:
                mixed = self.attend(query, key, value, context.segments, kind)
            case LayerPrompt():
                mixed = self.attend(query, key, value, context.segments, kind)
                cache = cache._replace(own=(key, value))
            case LayerSlots():
                mixed = self._attend_to_slot(query, key, value, cache, kind)
                cache = cache._replace(own=(key, value))
            case LayerPrefix():
                mixed = self._attend_in_trees(query, key, value, cache, kind)
                cache = cache._replace(own=(key, value))
            case LayerCache():
                cache = cache.store(key, value)
                mask = cache.slots.mask(kind.windowed)
                mixed = full.attend_where(query, *cache.read(), mask, spec=self.whole)
        return self.project("output", mixed, drop), cache

    def spec(self, windowed: bool) -> AttentionSpec:
        """What attention computes in layers with a window, or without."""
        return dataclasses.replace(self.whole, window=self.window if windowed else None)

    def in_blocks(self, segments: jt.Int[jax.Array, "B L"], dtype: str) -> bool:
        """Whether queries of this type attend within these segments by the implementation `blocks`."""
        query, key = (
            jax.ShapeDtypeStruct((*segments.shape, *heads), dtype) for heads in (self.heads, self.groups)
        )
        return in_blocks(
            query, key, segments, spec=self.whole, implementation=self.implementation, rules=self.rules
        )

    def queries(
        self, x: jt.Float[jax.Array, "B L D"], rotation: rotary.Tables | None, drop: RowKeys | None = None
    ) -> jt.Float[jax.Array, "B L H K"]:
        """Queries, with the positions in them."""
        query = self._heads("query", x, "heads", drop)
        return self._turned(query, rotation, getattr(self, "query_norm", None))

    def keys_and_values(
        self, x: jt.Float[jax.Array, "B L D"], rotation: rotary.Tables | None, drop: RowKeys | None = None
    ) -> tuple[jt.Float[jax.Array, "B L G K"], jt.Float[jax.Array, "B L G K"]]:
        """Keys, with the positions in them, and values."""
        key, value = (self._heads(name, x, "kv_heads", drop) for name in ("key", "value"))
        return self._turned(key, rotation, getattr(self, "key_norm", None)), value

    def attend(
        self,
        query: jt.Float[jax.Array, "B L H K"],
        key: jt.Float[jax.Array, "B L G K"],
        value: jt.Float[jax.Array, "B L G K"],
        segments: jt.Int[jax.Array, "B L"],
        kind: Kind,
    ) -> jt.Float[jax.Array, "B L H K"]:
        """The mix of values of every query, within segments."""

        def attend(windowed: bool) -> Callable[..., jax.Array]:
            return functools.partial(
                segment_attention,
                spec=self.spec(windowed),
                implementation=self.implementation,
                rules=self.rules,
            )

        return _of_kind(attend, kind, query, key, value, segments)

    def _attend_in_trees(
        self, query: jax.Array, key: jax.Array, value: jax.Array, prefix: LayerPrefix, kind: Kind
    ) -> jax.Array:
        def attend(windowed: bool) -> Callable[..., jax.Array]:
            return functools.partial(tree.attend, spec=self.spec(windowed), rules=self.rules)

        return _of_kind(attend, kind, query, key, value, prefix)

    def _attend_to_slot(
        self, query: jax.Array, key: jax.Array, value: jax.Array, slots: LayerSlots, kind: Kind
    ) -> jax.Array:
        def attend(windowed: bool) -> Callable[..., jax.Array]:
            return functools.partial(filled.attend, spec=self.spec(windowed))

        arrays = query, key, value, *slots.cache, slots.layer, slots.lengths
        return _of_kind(attend, kind, *arrays)

    def _heads(self, name: str, x: jax.Array, axis: str, drop: RowKeys | None) -> jax.Array:
        return constrain(self.project(name, x, drop), ("batch", "length", axis, "head_dim"), self.rules)

    @staticmethod
    def _turned(heads: jax.Array, rotation: rotary.Tables | None, norm: RMSNorm | None) -> jax.Array:
        heads = heads if norm is None else norm(heads)
        return heads if rotation is None else rotary.rotate(heads, rotation)


def _of_kind(attend: Callable[[bool], Callable[..., jax.Array]], kind: Kind, *arrays: Any) -> jax.Array:
    """What a layer attends with, with a window or without: known here, or when it runs."""
    if isinstance(kind.windowed, bool):
        return attend(kind.windowed)(*arrays)
    mixed: jax.Array = jax.lax.cond(kind.windowed, attend(True), attend(False), *arrays)
    return mixed
