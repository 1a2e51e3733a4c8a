"""The feed-forward of a block: gated (SwiGLU), or GPT-2's."""

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.projections import Projections, residual_stddev
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


class SwiGLU(Projections):
    """Gated feed-forward (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        outer, inner = {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        self.add_map("gate", outer, inner, config, rngs)
        self.add_map("up", outer, inner, config, rngs)
        self.add_map("down", inner, outer, config, rngs, stddev=residual_stddev(config))
        self.rules = rules

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        inner = _gated(*self.project_each(("gate", "up"), x))
        return self.project("down", constrain(inner, ("batch", "length", "mlp"), self.rules))


@jax.checkpoint
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """SwiGLU's product; the backward pass computes the sigmoid again, which is cheaper than keeping it."""
    return jax.nn.silu(gate) * up


class GELU(Projections):
    """GPT-2's feed-forward: two matrices, with GELU (arXiv:1606.08415) in its tanh form between them."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        outer, inner = {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        self.add_map("up", outer, inner, config, rngs)
        self.add_map("down", inner, outer, config, rngs, stddev=residual_stddev(config))
        self.rules = rules

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        inner = _activated(self.project("up", x))
        return self.project("down", constrain(inner, ("batch", "length", "mlp"), self.rules))


@jax.checkpoint
def _activated(up: jax.Array) -> jax.Array:
    """GELU; the backward pass computes it again, so that only its input is kept."""
    return jax.nn.gelu(up, approximate=True)
