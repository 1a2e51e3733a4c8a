"""Grouped-query attention that stays within a segment, or reads a cache of earlier tokens."""

from typing import NamedTuple

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import rotary
from im_jax.models.attention import full
from im_jax.models.attention.dispatch import segment_attention
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
        query = self._heads("query", x, "heads")
        key = self._heads("key", x, "kv_heads")
        value = self._heads("value", x, "kv_heads")
        if context.rotation is not None:
            query = rotary.rotate(query, *context.rotation)
            key = rotary.rotate(key, *context.rotation)
        if cache is None:
            mixed = segment_attention(
                query,
                key,
                value,
                context.segments,
                spec=self.spec,
                implementation=self.implementation,
                rules=self.rules,
            )
        else:
            cache = cache.store(key, value)
            mixed = full.attend_where(query, *cache.read(), cache.slots.mask, spec=self.spec)
        return self.project("output", mixed), cache

    def _heads(self, name: str, x: jax.Array, axis: str) -> jax.Array:
        return constrain(self.project(name, x), ("batch", "length", axis, "head_dim"), self.rules)


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
