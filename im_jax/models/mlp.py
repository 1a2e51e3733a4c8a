"""The feed-forward of a block: gated (SwiGLU), or GPT-2's."""

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.dense import dense
from im_jax.models.layers import add_bias, make_bias, matrix, residual_matrix
from im_jax.models.sharding import ShardingRules, constrain


def make_mlp(config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> "SwiGLU | GELU":
    """The feed-forward that the model asks for."""
    match config.mlp:
        case "swiglu":
            return SwiGLU(config, rules, rngs=rngs)
        case "gelu":
            return GELU(config, rules, rngs=rngs)
        case _:
            raise ConfigError(f"model.mlp is {config.mlp!r}; it can be swiglu or gelu")


class SwiGLU(nnx.Module):
    """Gated feed-forward (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        shape, axes = (config.embed_dim, config.mlp_dim), ("embed", "mlp")
        self.gate = matrix(shape, axes, config, rngs)
        self.up = matrix(shape, axes, config, rngs)
        self.down = residual_matrix(shape[::-1], axes[::-1], config, rngs)
        self.gate_bias = make_bias(shape[1:], axes[1:], config)
        self.up_bias = make_bias(shape[1:], axes[1:], config)
        self.down_bias = make_bias(shape[:1], ("norm",), config)
        self.rules = rules

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        gate = add_bias(dense(x, self.gate[...]), self.gate_bias)
        up = add_bias(dense(x, self.up[...]), self.up_bias)
        inner = constrain(_gated(gate, up), ("batch", "length", "mlp"), self.rules)
        return add_bias(dense(inner, self.down[...]), self.down_bias)


@jax.checkpoint
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """SwiGLU's product; the backward pass computes the sigmoid again, which is cheaper than keeping it."""
    return jax.nn.silu(gate) * up


class GELU(nnx.Module):
    """GPT-2's feed-forward: two matrices, with GELU (arXiv:1606.08415) in its tanh form between them."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        shape, axes = (config.embed_dim, config.mlp_dim), ("embed", "mlp")
        self.up = matrix(shape, axes, config, rngs)
        self.down = residual_matrix(shape[::-1], axes[::-1], config, rngs)
        self.up_bias = make_bias(shape[1:], axes[1:], config)
        self.down_bias = make_bias(shape[:1], ("norm",), config)
        self.rules = rules

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        inner = _activated(dense(x, self.up[...]), self.up_bias)
        inner = constrain(inner, ("batch", "length", "mlp"), self.rules)
        return add_bias(dense(inner, self.down[...]), self.down_bias)


@jax.checkpoint
def _activated(up: jax.Array, up_bias: nnx.Param[jax.Array] | None) -> jax.Array:
    """GELU of a product and its bias; the backward pass computes both again from the product alone."""
    return jax.nn.gelu(add_bias(up, up_bias), approximate=True)
