"""The feed-forward of a block: gated, or two matrices with something between them."""

import functools
from collections.abc import Callable
from typing import Final

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters.dropout import RowKeys
from im_jax.models.parts import num_parts, summed_over_parts
from im_jax.models.projections import Projections, residual_stddev
from im_jax.models.sharding import ShardingRules, constrain


def make_mlp(config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> "FeedForward":
    """The feed-forward that the model asks for."""
    if config.mlp in _GATES:
        return Gated(config, rules, rngs=rngs)
    if config.mlp in _BETWEEN:
        return Plain(config, rules, rngs=rngs)
    raise ConfigError(f"model.mlp is {config.mlp!r}; it can be {', '.join([*_GATES, *_BETWEEN])}")


class FeedForward(Projections):
    """Maps to the inner dimension, something of each of its columns, and the map `down` from there."""

    def __init__(
        self, maps: tuple[str, ...], config: ModelConfig, rules: ShardingRules, rngs: nnx.Rngs
    ) -> None:
        outer, inner = {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        for name in maps:
            self.add_map(name, outer, inner, config, rngs)
        self.add_map("down", inner, outer, config, rngs, stddev=residual_stddev(config))
        self.columns = config.mlp_dim
        self.remat = config.remat
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], drop: RowKeys | None = None
    ) -> jt.Float[jax.Array, "B L D"]:
        """`drop`: as `project` takes it."""
        shape = (*x.shape[:2], self.columns)
        # Where inner arrays are kept for the backward pass, all are in memory anyway.
        whole = self.remat != "full" or drop is not None
        count = 1 if whole else num_parts(shape, x.dtype, self.rules)
        return self.with_bias("down", self._in_parts(x, count) if count > 1 else self._product(x, drop))

    def inner(self, x: jax.Array, drop: RowKeys | None) -> jax.Array:
        """The inner array, [B, L, F], of the columns that the weights have."""
        raise NotImplementedError

    def _product(self, x: jax.Array, drop: RowKeys | None = None) -> jax.Array:
        inner = constrain(self.inner(x, drop), ("batch", "length", "mlp"), self.rules)
        return self.products(("down",), inner, drop)[0]

    def _in_parts(self, x: jax.Array, count: int) -> jax.Array:
        graph, state = nnx.split(self)
        weights, structure = jax.tree.flatten(state)
        axes = tuple(weight.get_metadata("logical_axes") for _, weight in nnx.to_flat_state(state))

        def part(weights: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
            return nnx.merge(graph, jax.tree.unflatten(structure, weights))._product(x)

        return summed_over_parts(part, count, axes, self.rules, tuple(weights), x)


class Gated(FeedForward):
    """Gated feed-forward (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        super().__init__(("gate", "up"), config, rules, rngs)
        self.kind = config.mlp

    def inner(self, x: jax.Array, drop: RowKeys | None) -> jax.Array:
        return _gated(self.kind, *self.project_each(("gate", "up"), x, drop))


@functools.partial(jax.checkpoint, static_argnums=0)
def _gated(kind: str, gate: jax.Array, up: jax.Array) -> jax.Array:
    """The gate's product; the backward pass computes the gate again, which is cheaper than keeping it."""
    return _GATES[kind](gate) * up


class Plain(FeedForward):
    """GPT-2's feed-forward and its like: two matrices."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        super().__init__(("up",), config, rules, rngs)
        self.kind = config.mlp

    def inner(self, x: jax.Array, drop: RowKeys | None) -> jax.Array:
        return _activated(self.kind, self.project("up", x, drop))


@functools.partial(jax.checkpoint, static_argnums=0)
def _activated(kind: str, up: jax.Array) -> jax.Array:
    """What is between the matrices; computed again by the backward pass, so that only its input is kept."""
    return _BETWEEN[kind](up)


_gelu: Final = functools.partial(jax.nn.gelu, approximate=True)
_GATES: Final[dict[str, Callable[[jax.Array], jax.Array]]] = {"swiglu": jax.nn.silu, "geglu": _gelu}
_BETWEEN: Final[dict[str, Callable[[jax.Array], jax.Array]]] = {
    "gelu": _gelu,
    "gelu_exact": functools.partial(jax.nn.gelu, approximate=False),
    "relu": jax.nn.relu,
}
"""Choices of `model.mlp`; GELU is arXiv:1606.08415, in its tanh form or exact."""
