"""A sum over parts of weights, one part after the other, so that only one part's arrays are in memory.

The feed-forward of a block is such a sum, over the columns of its inner dimension. Where a device has many
tokens, its inner arrays and their gradients are the largest of a step that keeps nothing else of a block.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.devices import platform
from im_jax.models import perturbed
from im_jax.models.quantised.nf4 import BLOCK
from im_jax.models.sharding import ShardingRules, constrain

CUT: Final = "mlp"
"""The logical axis that is cut."""
_HIDDEN_AXES: Final = ("batch", "length", "act_embed")
_LARGEST_ARRAY: Final = 2**26
"""Bytes of an inner array [B, L, columns] on a device that is not cut further."""
_FEWEST_COLUMNS: Final = 2048
"""Of a part: fewer would be little work for what is read and sent."""

Part = Callable[[Any, jax.Array], jax.Array]
"""`(weights of a part, x) -> its summand`."""


def num_parts(shape: tuple[int, ...], dtype: jnp.dtype, rules: ShardingRules) -> int:
    """Into how many parts the columns of an inner array are best cut; 1 if not on TPUs.

    Its shape is [B, L, columns], of all devices. Columns that several devices share are not cut: these add up
    each summand. Nor are blocks of columns that weights in NF4 keep together.
    """
    parts = 1
    if platform() != "tpu" or rules.parts("mlp") > 1:
        return parts
    columns = shape[-1]
    size = math.prod(shape) * dtype.itemsize // rules.parts("batch")
    while (
        size > parts * _LARGEST_ARRAY
        and columns % (2 * parts * BLOCK) == 0
        and columns >= 2 * parts * _FEWEST_COLUMNS
    ):
        parts *= 2
    return parts


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def summed_over_parts(
    part: Part,
    count: int,
    axes: Any,
    rules: ShardingRules,
    weights: Any,
    x: jt.Float[jax.Array, "B L D"],
) -> jt.Float[jax.Array, "B L D"]:
    """The sum of `part(weights of a part, x)` over all parts, added up in float32, in the type of `x`.

    The backward pass computes each part again and keeps nothing of it. Gradients of `x` add up in its type,
    as those of several maps do: a sum in float32 would be the largest array there.

    Args:
        part: a summand; weights of a part have the dimensions of all.
        count: number of parts.
        axes: logical axes of each weight, a tree of tuples like `weights`; `mlp` is cut.
        rules: how arrays lie on the mesh.
        weights: whole; each part has all of those without `mlp`.
        x: the same for all parts.
    """

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        summand = part(_cut(weights, axes, number, count), x)
        return constrain(total + summand.astype(jnp.float32), _HIDDEN_AXES, rules), None

    zeros = constrain(jnp.zeros(x.shape, jnp.float32), _HIDDEN_AXES, rules)
    return jax.lax.scan(add, zeros, jnp.arange(count))[0].astype(x.dtype)


def _forward(
    part: Part, count: int, axes: Any, rules: ShardingRules, weights: Any, x: Any
) -> tuple[jax.Array, tuple[Any, Any, jax.Array]]:
    whole = perturbed.values((weights, x))
    return summed_over_parts(part, count, axes, rules, *whole), (*perturbed.cut(weights), whole[1])


def _backward(
    part: Part, count: int, axes: Any, rules: ShardingRules, saved: tuple[Any, Any, jax.Array], dy: Any
) -> tuple[Any, jax.Array]:
    trained, fixed, x = saved
    dy = perturbed.arrays(dy)
    # Of those weights alone that have a gradient.
    own = jax.tree.map(
        lambda weight, names: None if weight is None else names, trained, axes, is_leaf=_is_none
    )

    def add(total: tuple[Any, jax.Array], number: jax.Array) -> tuple[tuple[Any, jax.Array], None]:
        d_weights, d_x = total

        def summand(trained: Any, x: jax.Array) -> jax.Array:
            return part(perturbed.joined(trained, _cut(fixed, axes, number, count)), x)

        _, pull_back = jax.vjp(summand, _cut(trained, axes, number, count), x)
        d_part, d_summand = pull_back(dy)
        d_weights = jax.tree.map(functools.partial(_put, number=number), d_weights, d_part, own)
        return (d_weights, constrain(d_x + d_summand, _HIDDEN_AXES, rules)), None

    zeros = (
        jax.tree.map(lambda weight, names: constrain(jnp.zeros_like(weight), names, rules), trained, own),
        constrain(jnp.zeros_like(x), _HIDDEN_AXES, rules),
    )
    (d_weights, d_x), _ = jax.lax.scan(add, zeros, jnp.arange(count))
    return d_weights, d_x


summed_over_parts.defvjp(_forward, _backward, symbolic_zeros=True)


def _put(whole: jax.Array, part: jax.Array, names: tuple[str, ...], number: jax.Array) -> jax.Array:
    """Gradients of weights, with those of a part."""
    if CUT not in names:
        return whole + part
    axis = names.index(CUT)
    return jax.lax.dynamic_update_slice_in_dim(whole, part, number * part.shape[axis], axis)


def _cut(weights: Any, axes: Any, number: jax.Array, count: int) -> Any:
    """The weights of a part; those without the axis are of all parts."""

    def cut(weight: jax.Array | None, names: tuple[str, ...]) -> jax.Array | None:
        if weight is None or CUT not in names:
            return weight
        axis = names.index(CUT)
        size = weight.shape[axis] // count
        return jax.lax.dynamic_slice_in_dim(weight, number * size, size, axis)

    return jax.tree.map(cut, weights, axes, is_leaf=_is_none)


def _is_none(leaf: Any) -> bool:
    return leaf is None
