"""Products with weights that are differentiated."""

import functools
import math

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.weight_layout import WeightLayout, gathered, summed_gradient
from im_jax.products import product, product_of_columns, product_with_rows


@jax.custom_vjp
def dense(x: jt.Float[jax.Array, "*batch D"], weight: jt.Float[jax.Array, "D F"]) -> jax.Array:
    """`x @ weight` for a weight of any float type, in the type of `x`, accumulated in float32.

    The gradient of the weight is `x.T @ dy`, where JAX would make `(dy.T @ x).T`.
    """
    return product(x, weight.astype(x.dtype)).astype(x.dtype)


def _forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return dense(x, weight), (x, weight)


def _backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = saved
    flat_x, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    d_weight = product_of_columns(flat_x, flat_dy)
    d_x = product_with_rows(flat_dy, weight.astype(dy.dtype))
    return d_x.astype(x.dtype).reshape(x.shape), d_weight.astype(weight.dtype)


dense.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense_on_mesh(
    x: jt.Float[jax.Array, "B L *inputs"], weights: tuple[jax.Array, ...], layouts: tuple[WeightLayout, ...]
) -> tuple[jax.Array, ...]:
    """`x` through several weights of which each device keeps a part, as `dense`, in their own dimensions.

    Args:
        x: multiplied in its own type.
        weights: each [*inputs, *outputs].
        layouts: of each weight.

    Returns:
        A result [B, L, *outputs] for each weight.
    """
    rows = x.reshape(*x.shape[:2], -1)
    return tuple(
        product(rows, _matrix(weight, x.dtype, layout))
        .astype(x.dtype)
        .reshape(*x.shape[:2], *weight.shape[layout.num_inputs :])
        for weight, layout in zip(weights, layouts, strict=True)
    )


def _forward_on_mesh(
    x: jax.Array, weights: tuple[jax.Array, ...], layouts: tuple[WeightLayout, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, tuple[jax.Array, ...]]]:
    return dense_on_mesh(x, weights, layouts), (x, weights)


def _backward_on_mesh(
    layouts: tuple[WeightLayout, ...],
    saved: tuple[jax.Array, tuple[jax.Array, ...]],
    gradients: tuple[jax.Array, ...],
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    x, weights = saved
    d_weights, d_rows = [], []
    for weight, dy, layout in zip(weights, gradients, layouts, strict=True):
        d_weight = summed_gradient(x, dy, weight.dtype, layout)
        # One after the other: a gradient that waits for its sum over devices is as large as the whole weight.
        x, d_weight = jax.lax.optimization_barrier((x, d_weight))
        d_weights.append(d_weight)
        matrix = _matrix(weight, dy.dtype, layout)
        d_rows.append(product_with_rows(dy.reshape(-1, matrix.shape[1]), matrix).astype(x.dtype))
    d_x = functools.reduce(jnp.add, d_rows).reshape(x.shape)
    return jax.lax.optimization_barrier((d_x, tuple(d_weights)))


dense_on_mesh.defvjp(_forward_on_mesh, _backward_on_mesh)


def _matrix(weight: jax.Array, dtype: jnp.dtype, layout: WeightLayout) -> jax.Array:
    """The gathered weight as a matrix."""
    return gathered(weight, dtype, layout).reshape(math.prod(weight.shape[: layout.num_inputs]), -1)
