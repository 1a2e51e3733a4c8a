"""Products of matrices in the forms that a CPU multiplies fast; elsewhere the compiler chooses the form.

XLA on a CPU has kernels for products of bfloat16 that give float32 and whose operands lie row by row. Any
other product of bfloat16 is widened first and multiplied as float32, at half the speed (docs/performance.md).
On a processor without instructions for bfloat16 every product is, so there the forms are those of float32.
"""

from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.experimental.layout import Layout, with_layout_constraint

from im_jax import hardware
from im_jax.devices import platform

_FOR_BFLOAT16: Final = {"avx512_bf16", "amx_bf16"}
"""What /proc/cpuinfo calls the instructions that XLA's kernels use."""


def multiplied_type(dtype: jnp.dtype) -> jnp.dtype:
    """The type in which arrays of a float type are best multiplied again and again.

    Float32 for narrower types on a CPU that would widen them for each product, else the type itself.
    """
    widened = platform() == "cpu" and not _multiplies(dtype)
    return jnp.promote_types(dtype, jnp.float32) if widened else dtype


def product(
    a: jt.Float[jax.Array, "*batch K"], b: jt.Float[jax.Array, "K N"]
) -> jt.Float[jax.Array, "*batch N"]:
    """`a @ b`, accumulated in float32; on a CPU given in float32, which is as it comes there.

    Elsewhere the type is that of the operands.
    """
    return _whole(jnp.dot(a, b, preferred_element_type=_kept_type()))


def product_with_rows(
    a: jt.Float[jax.Array, "M K"], b: jt.Float[jax.Array, "N K"]
) -> jt.Float[jax.Array, "M N"]:
    """`a @ b.T`, as `product`."""
    contract_last = (((1,), (1,)), ((), ()))
    return _whole(jax.lax.dot_general(a, b, contract_last, preferred_element_type=_kept_type()))


def product_of_columns(
    a: jt.Float[jax.Array, "K M"], b: jt.Float[jax.Array, "K N"]
) -> jt.Float32[jax.Array, "M N"]:
    """`a.T @ b`, in float32."""
    return _whole(jnp.dot(transpose(a), b, preferred_element_type=jnp.float32))


def transpose(x: jt.Float[jax.Array, "N D"]) -> jt.Float[jax.Array, "D N"]:
    """`x.T`; on a CPU as a copy that lies row by row, of a narrow type that there are instructions for."""
    # Not on a mesh: a constraint on the layout makes the partitioner gather the array first.
    one_device = jax.sharding.get_abstract_mesh().size <= 1
    if platform() == "cpu" and one_device and x.dtype.itemsize < 4 and _multiplies(x.dtype):
        return with_layout_constraint(x.T, Layout(major_to_minor=(0, 1)))
    return x.T


def _whole(x: jax.Array) -> jax.Array:
    """On a CPU, a product that no transpose of its result is folded into.

    JAX 0.10 to 0.12 decide what to widen before they fold, and cannot run what folding made of the rest.
    """
    return jax.lax.optimization_barrier(x) if platform() == "cpu" else x


def _kept_type() -> jnp.dtype | None:
    """None leaves it to JAX."""
    return jnp.dtype(jnp.float32) if platform() == "cpu" else None


def _multiplies(dtype: jnp.dtype) -> bool:
    """Whether this processor has instructions for products of a type."""
    return dtype.itemsize >= 4 or (dtype == jnp.bfloat16 and bool(hardware.instructions() & _FOR_BFLOAT16))
