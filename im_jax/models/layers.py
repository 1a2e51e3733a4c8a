"""The small parts that all of the decoder is made of: parameters with their logical axes, and norms."""

import jax
import jax.numpy as jnp
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError

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


def make_norm(config: ModelConfig) -> "RMSNorm | LayerNorm":
    """The norm that the model asks for."""
    match config.norm:
        case "rms" | "rms_plus_one":
            return RMSNorm(config, {"norm": config.embed_dim})
        case "layer":
            return LayerNorm(config)
        case _:
            raise ConfigError(f"model.norm is {config.norm!r}; it can be rms, rms_plus_one or layer")


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation (arXiv:1910.07467) over the last dimensions, float32 inside.

    The scale is the parameter, or 1 more than it, which then starts at 0 (Gemma).
    """

    def __init__(self, config: ModelConfig, axes: dict[str, int]) -> None:
        """`axes`: size of each dimension that it is over, by logical axis."""
        self.plus = 1.0 if config.norm == "rms_plus_one" else 0.0
        value = jnp.full(tuple(axes.values()), 1 - self.plus, config.param_dtype)
        self.scale = nnx.Param(value, logical_axes=tuple(axes))
        self.eps = config.norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        over = tuple(range(-self.scale[...].ndim, 0))
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=over, keepdims=True) + self.eps)
        scale = self.scale[...].astype(jnp.float32)
        return (wide * (scale + self.plus if self.plus else scale)).astype(x.dtype)


class LayerNorm(nnx.Module):
    """Layer normalisation (arXiv:1607.06450), float32 inside."""

    def __init__(self, config: ModelConfig) -> None:
        self.scale = nnx.Param(jnp.ones(config.embed_dim, config.param_dtype), logical_axes=("norm",))
        self.bias = nnx.Param(jnp.zeros(config.embed_dim, config.param_dtype), logical_axes=("norm",))
        self.eps = config.norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.eps)
        scaled = wide * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return scaled.astype(x.dtype)
