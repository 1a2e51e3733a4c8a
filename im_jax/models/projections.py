"""Linear maps with weights: the one place where attention and feed-forward multiply by parameters.

Adapters add their products here, and what recomputation keeps of products is named here.
"""

import math
from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters import lora
from im_jax.models.adapters.dropout import RowKeys, dropped
from im_jax.models.adapters.targets import MAPS, is_target
from im_jax.models.dense import dense, dense_on_mesh
from im_jax.models.layers import INIT_STDDEV, matrix
from im_jax.models.quantised import maps as quantised
from im_jax.models.quantised.dense import dense_quantised
from im_jax.models.quantised.nf4 import Quantised
from im_jax.models.sharding import ShardingRules
from im_jax.models.weight_layout import WeightLayout, weight_layout

Axes = dict[str, int]
"""Size of each logical axis, in the order of an array's dimensions."""

_QKV: Final = ("query", "key", "value")
_WITH_BIAS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "qkv": _QKV,
    "attention": (*_QKV, "output"),
    "all": MAPS,
}
"""Choices of `model.biases`, and the maps that then have one."""
PRODUCT: Final = "product with weights"
"""Name of their results, for policies of recomputation."""


class Projections(nnx.Module):
    """A part of the decoder that has named linear maps.

    The map `name` is a parameter of that name, [*inputs, *outputs], and where the model has biases another,
    `name_bias`, [*outputs]. Where it is adapted, there are `name_lora_a`, [*inputs, rank], and `name_lora_b`,
    [rank, *outputs]. In 4 bits it is what `models.quantised.maps` says instead.
    """

    rules: ShardingRules
    lora_scale: float
    lora_dropout: float

    def add_map(
        self,
        name: str,
        inputs: Axes,
        outputs: Axes,
        config: ModelConfig,
        rngs: nnx.Rngs,
        *,
        stddev: float = INIT_STDDEV,
    ) -> None:
        """Makes the parameters of a map: a normal matrix, and a bias of 0 if `model.biases` has it.

        Raises:
            ConfigError: `model.biases` is not one of its choices.
        """
        shape, axes = (*inputs.values(), *outputs.values()), (*inputs, *outputs)
        weight = matrix(shape, axes, config, rngs, stddev)
        weight.set_metadata(num_inputs=len(inputs))
        if quantised.takes(config, name):
            codes, scales = quantised.new_map(name, weight[...], inputs, outputs)
            setattr(self, f"{name}{quantised.CODES}", codes)
            setattr(self, f"{name}{quantised.SCALES}", scales)
        else:
            setattr(self, name, weight)
        if config.biases not in _WITH_BIAS:
            raise ConfigError(f"model.biases is {config.biases!r}; it can be {', '.join(_WITH_BIAS)}")
        if name in _WITH_BIAS[config.biases]:
            zeros = jnp.zeros(tuple(outputs.values()), config.param_dtype)
            # Vectors of the model dimension are not split, as matrices are.
            axes = tuple("norm" if axis == "embed" else axis for axis in outputs)
            setattr(self, f"{name}_bias", nnx.Param(zeros, logical_axes=axes))
        if is_target(config.lora, name):
            setattr(self, f"{name}{lora.A}", lora.new_a(inputs, config.lora.rank, rngs))
            setattr(self, f"{name}{lora.B}", lora.new_b(outputs, config.lora.rank))
            self.lora_scale, self.lora_dropout = lora.scale(config.lora), config.lora.dropout

    def project(
        self, name: str, x: jt.Float[jax.Array, "*batch_and_inputs"], drop: RowKeys | None = None
    ) -> jt.Float[jax.Array, "*batch_and_outputs"]:
        """`x` through the map `name`, in the type of `x`.

        The bias is added in float32, and so its gradient is summed in float32. `drop` has the keys by which
        an adapter's inputs are dropped; None: none are.
        """
        return self.project_each((name,), x, drop)[0]

    def project_each(
        self, names: tuple[str, ...], x: jt.Float[jax.Array, "*batch_and_inputs"], drop: RowKeys | None = None
    ) -> tuple[jt.Float[jax.Array, "*batch_and_outputs"], ...]:
        """`x` through several maps, as `project`."""
        products = self.products(names, x, drop)
        return tuple(self.with_bias(name, y) for name, y in zip(names, products, strict=True))

    def products(
        self, names: tuple[str, ...], x: jt.Float[jax.Array, "*batch_and_inputs"], drop: RowKeys | None = None
    ) -> tuple[jt.Float[jax.Array, "*batch_and_outputs"], ...]:
        """`x` through several maps without their biases."""
        if hasattr(self, names[0]):
            products = self._through([getattr(self, name) for name in names], x)
        else:
            products = tuple(self._through_quantised(name, x) for name in names)
        return tuple(self._adapted(name, x, y, drop) for name, y in zip(names, products, strict=True))

    def _adapted(self, name: str, x: jax.Array, y: jax.Array, drop: RowKeys | None) -> jax.Array:
        """A product with what the map's adapter adds to it, if it has one."""
        a: nnx.Param[jax.Array] | None = getattr(self, f"{name}{lora.A}", None)
        if a is None:
            return y
        if drop is not None:
            x = dropped(x, drop, self.lora_dropout, MAPS.index(name))
        (low,) = self._through([a], x)
        (change,) = self._through([getattr(self, f"{name}{lora.B}")], low * self.lora_scale)
        return y + change

    def _through(
        self, weights: list[nnx.Param[jax.Array]], x: jt.Float[jax.Array, "*batch_and_inputs"]
    ) -> tuple[jt.Float[jax.Array, "*batch_and_outputs"], ...]:
        layouts = [self._layout(weight, x) for weight in weights]
        values = tuple(weight[...] for weight in weights)
        if all(layouts):
            products = dense_on_mesh(x, values, tuple(layouts))
        else:
            inputs = [weight.get_metadata("num_inputs") for weight in weights]
            products = tuple(_product(x, value, count) for value, count in zip(values, inputs, strict=True))
        # Named outside the custom gradient, in which no policy of recomputation can see anything.
        return tuple(checkpoint_name(y, PRODUCT) for y in products)

    def _through_quantised(self, name: str, x: jax.Array) -> jax.Array:
        codes: nnx.Param[jax.Array] = getattr(self, f"{name}{quantised.CODES}")
        scales: nnx.Param[jax.Array] = getattr(self, f"{name}{quantised.SCALES}")
        axes, num_inputs = (codes.get_metadata(key) for key in ("logical_axes", "num_inputs"))
        rows = x.reshape(*x.shape[: x.ndim - num_inputs], -1)
        layout = weight_layout(axes[:1], axes[1:], self.rules, rows=x.shape[0])
        y = dense_quantised(rows, Quantised(codes[...], scales[...]), layout)
        return checkpoint_name(y, PRODUCT)

    def _layout(self, weight: nnx.Param[jax.Array], x: jax.Array) -> WeightLayout | None:
        axes, num_inputs = weight.get_metadata("logical_axes"), weight.get_metadata("num_inputs")
        return weight_layout(axes[:num_inputs], axes[num_inputs:], self.rules, rows=x.shape[0])

    def with_bias(self, name: str, y: jax.Array) -> jax.Array:
        """A product of the map `name` with its bias, where it has one."""
        bias: nnx.Param[jax.Array] | None = getattr(self, f"{name}_bias", None)
        if bias is None:
            return y
        return (y.astype(jnp.float32) + bias[...].astype(jnp.float32)).astype(y.dtype)


def _product(x: jax.Array, weight: jax.Array, num_inputs: int) -> jax.Array:
    batch, outputs = x.shape[: x.ndim - num_inputs], weight.shape[num_inputs:]
    flat = weight.reshape(math.prod(weight.shape[:num_inputs]), -1)
    return dense(x.reshape(*batch, -1), flat).reshape(*batch, *outputs)


def residual_stddev(config: ModelConfig) -> float:
    """Of a matrix that writes to the residual stream, which 2 * num_layers of them add up in (GPT-2)."""
    return INIT_STDDEV / math.sqrt(2 * config.num_layers)
