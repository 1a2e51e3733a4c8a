"""Products with weights, whose gradient transposes the narrower operand."""

import jax
import jax.numpy as jnp
import jaxtyping as jt


@jax.custom_vjp
def dense(x: jt.Float[jax.Array, "*batch D"], weight: jt.Float[jax.Array, "D F"]) -> jax.Array:
    """`x @ weight` for a weight of any float type, in the type of `x`.

    JAX makes the gradient of a weight as `(dy.T @ x).T`. Where `dy` is the wider operand, as in the first
    half of a feed-forward layer, its transpose is a copy of the largest array there is, which costs a CPU
    more than the product; `x.T @ dy` is then the same number of operations without it.
    """
    return x @ weight.astype(x.dtype)


def _forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return dense(x, weight), (x, weight)


def _backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = saved
    flat_x, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    if x.shape[-1] <= dy.shape[-1]:
        d_weight = jnp.dot(flat_x.T, flat_dy, preferred_element_type=jnp.float32)
    else:
        d_weight = jnp.dot(flat_dy.T, flat_x, preferred_element_type=jnp.float32).T
    return dy @ weight.astype(dy.dtype).T, d_weight.astype(weight.dtype)


dense.defvjp(_forward, _backward)
