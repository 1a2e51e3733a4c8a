"""Products with weights; the backward pass makes gradients of those alone that are trained."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models import perturbed
from im_jax.models.weight_layout import WeightLayout, gathered, summed_gradient
from im_jax.products import product, product_of_columns, product_with_rows


@jax.custom_vjp
def dense(x: jt.Float[jax.Array, "*batch D"], weight: jt.Float[jax.Array, "D F"]) -> jax.Array:
    """`x @ weight` for a weight of any float type, in the type of `x`, accumulated in float32.

    The gradient of the weight is `x.T @ dy`, where JAX would make `(dy.T @ x).T`.
    """
    return product(x, weight.astype(x.dtype)).astype(x.dtype)


def _forward(x: Any, weight: Any) -> tuple[jax.Array, tuple[jax.Array, Any, Any]]:
    return dense(x.value, weight.value), (x.value, *perturbed.cut(weight))


def _backward(saved: tuple[jax.Array, Any, Any], dy: Any) -> tuple[jax.Array, jax.Array | None]:
    x, trained, fixed = saved
    weight, dy = perturbed.joined(trained, fixed), perturbed.arrays(dy)
    flat_x, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    d_weight = None if trained is None else product_of_columns(flat_x, flat_dy).astype(weight.dtype)
    d_x = product_with_rows(flat_dy, weight.astype(dy.dtype))
    return d_x.astype(x.dtype).reshape(x.shape), d_weight


dense.defvjp(_forward, _backward, symbolic_zeros=True)


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
    x: Any, weights: tuple[Any, ...], layouts: tuple[WeightLayout, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, Any, Any]]:
    products = dense_on_mesh(x.value, perturbed.values(weights), layouts)
    return products, (x.value, *perturbed.cut(weights))


def _backward_on_mesh(
    layouts: tuple[WeightLayout, ...], saved: tuple[jax.Array, Any, Any], gradients: Any
) -> tuple[jax.Array, tuple[jax.Array | None, ...]]:
    x, trained, fixed = saved
    weights, gradients = perturbed.joined(trained, fixed), perturbed.arrays(gradients)
    d_weights, d_rows = [], []
    for weight, own, dy, layout in zip(weights, trained, gradients, layouts, strict=True):
        d_weight = None if own is None else summed_gradient(x, dy, weight.dtype, layout)
        # One after the other: a gradient that waits for its sum over devices is as large as the whole weight.
        x, d_weight = jax.lax.optimization_barrier((x, d_weight))
        d_weights.append(d_weight)
        matrix = _matrix(weight, dy.dtype, layout)
        d_rows.append(product_with_rows(dy.reshape(-1, matrix.shape[1]), matrix).astype(x.dtype))
    d_x = functools.reduce(jnp.add, d_rows).reshape(x.shape)
    return jax.lax.optimization_barrier((d_x, tuple(d_weights)))


dense_on_mesh.defvjp(_forward_on_mesh, _backward_on_mesh, symbolic_zeros=True)


def _matrix(weight: jax.Array, dtype: jnp.dtype, layout: WeightLayout) -> jax.Array:
    """The gathered weight as a matrix."""
    return gathered(weight, dtype, layout).reshape(math.prod(weight.shape[: layout.num_inputs]), -1)
