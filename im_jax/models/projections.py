"""Linear maps with weights: the one place where attention and feed-forward multiply by parameters.

An adapter adds its product here, and what recomputation keeps of products is named here.
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
from im_jax.models.dense import dense
from im_jax.models.layers import INIT_STDDEV, matrix

Axes = dict[str, int]
"""Size of each logical axis, in the order of an array's dimensions."""

PRODUCT: Final = "product with weights"
"""Name of their results, for policies of recomputation."""


class Projections(nnx.Module):
    """A part of the decoder that has named linear maps.

    The map `name` is a parameter of that name, [*inputs, *outputs], and where the model has biases another,
    `name_bias`, [*outputs].
    """

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
        """Makes the parameters of a map: a normal matrix, and a bias of 0.

        Raises:
            ConfigError: `model.biases` is not one of its choices.
        """
        shape, axes = (*inputs.values(), *outputs.values()), (*inputs, *outputs)
        weight = matrix(shape, axes, config, rngs, stddev)
        weight.set_metadata(num_inputs=len(inputs))
        setattr(self, name, weight)
        match config.biases:
            case "none":
                pass
            case "all":
                zeros = jnp.zeros(tuple(outputs.values()), config.param_dtype)
                # Vectors of the model dimension are not split, as matrices are.
                axes = tuple("norm" if axis == "embed" else axis for axis in outputs)
                setattr(self, f"{name}_bias", nnx.Param(zeros, logical_axes=axes))
            case _:
                raise ConfigError(f"model.biases is {config.biases!r}; it can be none or all")

    def project(
        self, name: str, x: jt.Float[jax.Array, "*batch_and_inputs"]
    ) -> jt.Float[jax.Array, "*batch_and_outputs"]:
        """`x` through the map `name`, in the type of `x`.

        The bias is added in float32, and so its gradient is summed in float32.
        """
        weight: nnx.Param[jax.Array] = getattr(self, name)
        num_inputs = weight.get_metadata("num_inputs")
        value = weight[...]
        batch, outputs = x.shape[: x.ndim - num_inputs], value.shape[num_inputs:]
        flat = value.reshape(math.prod(value.shape[:num_inputs]), -1)
        # Named outside the custom gradient, in which no policy of recomputation can see anything.
        y = checkpoint_name(dense(x.reshape(*batch, -1), flat).reshape(*batch, *outputs), PRODUCT)
        bias: nnx.Param[jax.Array] | None = getattr(self, f"{name}_bias", None)
        if bias is None:
            return y
        return (y.astype(jnp.float32) + bias[...].astype(jnp.float32)).astype(y.dtype)


def residual_stddev(config: ModelConfig) -> float:
    """Of a matrix that writes to the residual stream, which 2 * num_layers of them add up in (GPT-2)."""
    return INIT_STDDEV / math.sqrt(2 * config.num_layers)
