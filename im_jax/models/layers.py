"""The small parts of a block: parameters with their logical axes, RMSNorm, and the feed-forward."""

import math

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.models.dense import dense
from im_jax.models.sharding import ShardingRules, constrain

INIT_STDDEV = 0.02
"""Of every matrix, as in GPT-2 and Llama."""


def matrix(
    shape: tuple[int, ...],
    logical_axes: tuple[str, ...],
    config: ModelConfig,
    rngs: nnx.Rngs,
    stddev: float = INIT_STDDEV,
) -> nnx.Param[jax.Array]:
    """A normally distributed parameter.

    It is drawn in float32 and rounded, so the values do not depend on `param_dtype` beyond rounding. The
    axes go under a metadata key of our own: Flax would shard eagerly by its `sharding_names`.
    """
    value = stddev * jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(value.astype(config.param_dtype), logical_axes=logical_axes)


def residual_matrix(
    shape: tuple[int, ...], logical_axes: tuple[str, ...], config: ModelConfig, rngs: nnx.Rngs
) -> nnx.Param[jax.Array]:
    """A matrix that writes to the residual stream, which 2 * num_layers of them add up in (GPT-2)."""
    return matrix(shape, logical_axes, config, rngs, INIT_STDDEV / math.sqrt(2 * config.num_layers))


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation (arXiv:1910.07467), float32 inside."""

    def __init__(self, config: ModelConfig) -> None:
        self.scale = nnx.Param(jnp.ones(config.embed_dim, config.param_dtype), logical_axes=("norm",))
        self.eps = config.norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.eps)
        return (wide * self.scale[...].astype(jnp.float32)).astype(x.dtype)


class MLP(nnx.Module):
    """SwiGLU feed-forward (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        shape, axes = (config.embed_dim, config.mlp_dim), ("embed", "mlp")
        self.gate = matrix(shape, axes, config, rngs)
        self.up = matrix(shape, axes, config, rngs)
        self.down = residual_matrix(shape[::-1], axes[::-1], config, rngs)
        self.rules = rules

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        gate, up = dense(x, self.gate[...]), dense(x, self.up[...])
        inner = constrain(_gated(gate, up), ("batch", "length", "mlp"), self.rules)
        return dense(inner, self.down[...])


@jax.checkpoint
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """SwiGLU's product; the backward pass computes the sigmoid again, which is cheaper than keeping it."""
    return jax.nn.silu(gate) * up
