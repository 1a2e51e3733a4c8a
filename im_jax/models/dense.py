"""Products with weights that are differentiated."""

import jax
import jaxtyping as jt

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
