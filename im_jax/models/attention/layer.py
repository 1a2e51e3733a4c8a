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
from im_jax.models.dense import dense
from im_jax.models.layers import add_bias, make_bias, matrix, residual_matrix
from im_jax.models.sharding import ShardingRules, constrain


class Context(NamedTuple):
    """What all layers share about the tokens: computed once, outside the scan."""

    rotation: rotary.Tables | None
    """None where positions are not rotary."""
    segments: jt.Int[jax.Array, "B L"]
    """Which example of its row each token belongs to; 0 is padding. A cache holds one example a row."""


class Attention(nnx.Module):
    """Attention with H query heads over G key and value heads, H a multiple of G (arXiv:2305.13245)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        if config.num_heads % config.num_kv_heads:
            raise ConfigError(
                f"model.num_heads {config.num_heads} is not a multiple of model.num_kv_heads "
                f"{config.num_kv_heads}; change one of them"
            )
        heads, groups, size, embed = config.num_heads, config.num_kv_heads, head_dim(config), config.embed_dim
        self.query = matrix((embed, heads, size), ("embed", "heads", "head_dim"), config, rngs)
        self.key = matrix((embed, groups, size), ("embed", "kv_heads", "head_dim"), config, rngs)
        self.value = matrix((embed, groups, size), ("embed", "kv_heads", "head_dim"), config, rngs)
        self.output = residual_matrix((heads, size, embed), ("heads", "head_dim", "embed"), config, rngs)
        self.query_bias = make_bias((heads, size), ("heads", "head_dim"), config)
        self.key_bias = make_bias((groups, size), ("kv_heads", "head_dim"), config)
        self.value_bias = make_bias((groups, size), ("kv_heads", "head_dim"), config)
        self.output_bias = make_bias((embed,), ("norm",), config)
        self.spec = AttentionSpec(window=config.sliding_window)
        self.implementation = config.attention
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, cache: MaybeCache
    ) -> tuple[jt.Float[jax.Array, "B L D"], MaybeCache]:
        """Attends within segments; with a cache, stores keys and values there and reads it."""
        query = self._heads(x, self.query, self.query_bias, "heads")
        key = self._heads(x, self.key, self.key_bias, "kv_heads")
        value = self._heads(x, self.value, self.value_bias, "kv_heads")
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
        output = self.output[...]
        written = dense(mixed.reshape(*x.shape[:2], -1), output.reshape(-1, output.shape[-1]))
        return add_bias(written, self.output_bias), cache

    def _heads(
        self, x: jax.Array, weight: nnx.Param[jax.Array], bias: nnx.Param[jax.Array] | None, axis: str
    ) -> jax.Array:
        embed, heads, size = weight[...].shape
        projected = dense(x, weight[...].reshape(embed, heads * size)).reshape(*x.shape[:2], heads, size)
        return constrain(add_bias(projected, bias), ("batch", "length", axis, "head_dim"), self.rules)


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
