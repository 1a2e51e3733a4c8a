"""Grouped-query attention that stays within a segment, or reads a cache of earlier tokens."""

from typing import NamedTuple

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import rotary
from im_jax.models.attention import full
from im_jax.models.attention.dispatch import in_blocks, segment_attention
from im_jax.models.attention.spec import AttentionSpec
from im_jax.models.cache import MaybeCache
from im_jax.models.projections import Projections, residual_stddev
from im_jax.models.sharding import ShardingRules, constrain


class Context(NamedTuple):
    """What all layers share about the tokens: computed once, outside the scan."""

    rotation: rotary.Tables | None
    """None where positions are not rotary."""
    segments: jt.Int[jax.Array, "B L"]
    """Which example of its row each token belongs to; 0 is padding. A cache holds one example a row."""


class Attention(Projections):
    """Attention with H query heads over G key and value heads, H a multiple of G (arXiv:2305.13245)."""

    query: nnx.Param[jax.Array]
    key: nnx.Param[jax.Array]

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        if config.num_heads % config.num_kv_heads:
            raise ConfigError(
                f"model.num_heads {config.num_heads} is not a multiple of model.num_kv_heads "
                f"{config.num_kv_heads}; change one of them"
            )
        embed, size = {"embed": config.embed_dim}, {"head_dim": head_dim(config)}
        heads, groups = {"heads": config.num_heads} | size, {"kv_heads": config.num_kv_heads} | size
        self.add_map("query", embed, heads, config, rngs)
        self.add_map("key", embed, groups, config, rngs)
        self.add_map("value", embed, groups, config, rngs)
        self.add_map("output", heads, embed, config, rngs, stddev=residual_stddev(config))
        self.spec = AttentionSpec(window=config.sliding_window)
        self.implementation = config.attention
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, cache: MaybeCache
    ) -> tuple[jt.Float[jax.Array, "B L D"], MaybeCache]:
        """Attends within segments; with a cache, stores keys and values there and reads it."""
        query, (key, value) = self.queries(x, context.rotation), self.keys_and_values(x, context.rotation)
        if cache is None:
            mixed = self.attend(query, key, value, context.segments)
        else:
            cache = cache.store(key, value)
            mixed = full.attend_where(query, *cache.read(), cache.slots.mask, spec=self.spec)
        return self.project("output", mixed), cache

    def in_blocks(self, segments: jt.Int[jax.Array, "B L"], dtype: str) -> bool:
        """Whether queries of this type attend within these segments by the implementation `blocks`."""
        query, key = (
            jax.ShapeDtypeStruct((*segments.shape, *param[...].shape[-2:]), dtype)
            for param in (self.query, self.key)
        )
        return in_blocks(
            query, key, segments, spec=self.spec, implementation=self.implementation, rules=self.rules
        )

    def queries(
        self, x: jt.Float[jax.Array, "B L D"], rotation: rotary.Tables | None
    ) -> jt.Float[jax.Array, "B L H K"]:
        """Queries, with the positions in them."""
        return self._rotated(self._heads("query", x, "heads"), rotation)

    def keys_and_values(
        self, x: jt.Float[jax.Array, "B L D"], rotation: rotary.Tables | None
    ) -> tuple[jt.Float[jax.Array, "B L G K"], jt.Float[jax.Array, "B L G K"]]:
        """Keys, with the positions in them, and values."""
        key, value = (self._heads(name, x, "kv_heads") for name in ("key", "value"))
        return self._rotated(key, rotation), value

    def attend(
        self,
        query: jt.Float[jax.Array, "B L H K"],
        key: jt.Float[jax.Array, "B L G K"],
        value: jt.Float[jax.Array, "B L G K"],
        segments: jt.Int[jax.Array, "B L"],
    ) -> jt.Float[jax.Array, "B L H K"]:
        """The mix of values of every query, within segments."""
        return segment_attention(
            query,
            key,
            value,
            segments,
            spec=self.spec,
            implementation=self.implementation,
            rules=self.rules,
        )

    def _heads(self, name: str, x: jax.Array, axis: str) -> jax.Array:
        return constrain(self.project(name, x), ("batch", "length", axis, "head_dim"), self.rules)

    @staticmethod
    def _rotated(heads: jax.Array, rotation: rotary.Tables | None) -> jax.Array:
        return heads if rotation is None else rotary.rotate(heads, *rotation)


def head_dim(config: ModelConfig) -> int:
    """Size of one head: as configured, else the model dimension shared out; even if positions are rotary."""
    size = config.head_dim
    if size is None:
        if config.embed_dim % config.num_heads:
            raise ConfigError(
                f"model.embed_dim {config.embed_dim} is not a multiple of model.num_heads "
                f"{config.num_heads}; change one of them or set model.head_dim"
            )
        size = config.embed_dim // config.num_heads
    if size % 2 and config.positions == "rotary":
        raise ConfigError(f"model.head_dim {size} is odd; rotary positions turn pairs, so make it even")
    return size
