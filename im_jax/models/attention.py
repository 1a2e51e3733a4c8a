"""Grouped-query attention that stays within a segment, or reads a cache of earlier tokens."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import rotary
from im_jax.models.layers import matrix, residual_matrix
from im_jax.models.sharding import ShardingRules, constrain


class Cache(NamedTuple):
    """Keys (turned by their positions) and values of earlier tokens; slot s holds position s."""

    key: jt.Float[jax.Array, "*layers B S G K"]
    value: jt.Float[jax.Array, "*layers B S G K"]


class Context(NamedTuple):
    """What all layers share about the tokens: computed once, outside the scan."""

    cos: jt.Float32[jax.Array, "B L 1 half_K"]
    sin: jt.Float32[jax.Array, "B L 1 half_K"]
    mask: jt.Bool[jax.Array, "B 1 L S"]
    """True where a token (L) sees a key (S)."""
    positions: jt.Int[jax.Array, "B L"]


def segment_mask(
    segments: jt.Int[jax.Array, "B L"], sliding_window: int | None
) -> jt.Bool[jax.Array, "B 1 L L"]:
    """Causal within a segment: a token sees itself and earlier tokens of its own example.

    Padding (segment 0) sees itself and earlier padding, so that every row of the softmax has a key and
    stays finite. With a window w, a token sees itself and the w - 1 tokens before it (Hugging Face's
    Mistral).
    """
    index = jnp.arange(segments.shape[1])
    age = index[:, None] - index[None, :]
    same = segments[:, :, None] == segments[:, None, :]
    return (same & _in_reach(age, sliding_window))[:, None]


def cache_mask(
    positions: jt.Int[jax.Array, "B L"], slots: int, sliding_window: int | None
) -> jt.Bool[jax.Array, "B 1 L {slots}"]:
    """A token sees the cache's slots up to its own position, within the window."""
    age = positions[:, :, None] - jnp.arange(slots)
    return _in_reach(age, sliding_window)[:, None]


def _in_reach(age: jax.Array, sliding_window: int | None) -> jax.Array:
    causal = age >= 0
    return causal if sliding_window is None else causal & (age < sliding_window)


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
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, cache: Cache | None = None
    ) -> tuple[jt.Float[jax.Array, "B L D"], Cache | None]:
        """Attends; with a cache, first stores the tokens' keys and values at their positions."""
        query = self._heads(x, self.query, "heads")
        key = self._heads(x, self.key, "kv_heads")
        value = self._heads(x, self.value, "kv_heads")
        query = rotary.rotate(query, context.cos, context.sin)
        key = rotary.rotate(key, context.cos, context.sin)
        if cache is not None:
            slots = jnp.arange(x.shape[0])[:, None], context.positions
            cache = Cache(cache.key.at[slots].set(key), cache.value.at[slots].set(value))
            key, value = cache
        # Softmax is float32 inside; implementation None leaves the choice of kernel to JAX.
        mixed = jax.nn.dot_product_attention(query, key, value, mask=context.mask, implementation=None)
        return jnp.einsum("blhk,hkd->bld", mixed, self.output[...].astype(x.dtype)), cache

    def _heads(self, x: jax.Array, weight: nnx.Param[jax.Array], axis: str) -> jax.Array:
        projected = jnp.einsum("bld,dhk->blhk", x, weight[...].astype(x.dtype))
        return constrain(projected, ("batch", "length", axis, "head_dim"), self.rules)


def head_dim(config: ModelConfig) -> int:
    """Size of one head: as configured, else the model dimension shared out; must be even (rotary)."""
    size = config.head_dim
    if size is None:
        if config.embed_dim % config.num_heads:
            raise ConfigError(
                f"model.embed_dim {config.embed_dim} is not a multiple of model.num_heads "
                f"{config.num_heads}; change one of them or set model.head_dim"
            )
        size = config.embed_dim // config.num_heads
    if size % 2:
        raise ConfigError(f"model.head_dim {size} is odd; rotary positions turn pairs, so make it even")
    return size
