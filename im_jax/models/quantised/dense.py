"""Products with weights in NF4, which are never whole in another type outside of a product."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.quantised.nf4 import Quantised, dequantise
from im_jax.models.weight_layout import WeightLayout, gathered
from im_jax.products import product, product_with_rows


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense_quantised(
    x: jt.Float[jax.Array, "*batch I"], weight: Quantised, layout: WeightLayout | None
) -> jt.Float[jax.Array, "*batch_and_outputs"]:
    """`x` through a weight [I, *outputs], in the type of `x`, accumulated in float32.

    The weight is only read. What the backward pass keeps of it are its codes and scales, which it looks up
    again.

    Args:
        x: multiplied in its own type, to which the weight is rounded.
        weight: in NF4.
        layout: of codes and scales alike, which are gathered as they are kept; None: of one device.
    """
    y = product(x, _matrix(weight, x.dtype, layout))
    return y.astype(x.dtype).reshape(*x.shape[:-1], *weight.scales.shape[1:])


def _forward(
    x: jax.Array, weight: Quantised, layout: WeightLayout | None
) -> tuple[jax.Array, tuple[Quantised]]:
    return dense_quantised(x, weight, layout), (weight,)


def _backward(layout: WeightLayout | None, saved: tuple[Quantised], dy: jax.Array) -> tuple[jax.Array, None]:
    # Else the compiler sees that it is looked up twice, and keeps what the forward pass found.
    weight, dy = jax.lax.optimization_barrier((*saved, dy))
    matrix = _matrix(weight, dy.dtype, layout)
    batch = dy.shape[: dy.ndim - weight.scales.ndim + 1]
    d_x = product_with_rows(dy.reshape(-1, matrix.shape[1]), matrix)
    return d_x.astype(dy.dtype).reshape(*batch, matrix.shape[0]), None


dense_quantised.defvjp(_forward, _backward)


def _matrix(
    weight: Quantised, dtype: jnp.dtype, layout: WeightLayout | None
) -> jt.Float[jax.Array, "I outputs"]:
    if layout is not None:
        weight = Quantised(*(gathered(jnp.asarray(part), part.dtype, layout) for part in weight))
    found = dequantise(weight).astype(dtype)
    return found.reshape(len(found), -1)
