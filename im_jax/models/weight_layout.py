"""Weights of which each device keeps a part: gathered when they are used, and their gradients summed."""

import dataclasses
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.sharding import PartitionSpec

from im_jax.models.sharding import LogicalAxes, ShardingRules
from im_jax.products import product_of_columns

_OF_ACTIVATIONS = {"embed": "act_embed"}
"""Dimensions that have another name in what a weight is multiplied with."""


@dataclasses.dataclass(frozen=True)
class WeightLayout:
    """How a weight, what it is multiplied with, and the result lie on the mesh that `jax.set_mesh` set."""

    num_inputs: int
    """Dimensions of the weight that are summed over; they come first."""
    kept: PartitionSpec
    used: PartitionSpec
    """Of the gathered weight."""
    inputs: PartitionSpec
    outputs: PartitionSpec
    rows: tuple[str, ...]
    """Mesh axes that rows are split over, and so the sum of the weight's gradient."""
    reduce_dtype: str
    """Type in which that gradient is summed over devices; on one device it is summed in float32."""

    def parts(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The dimensions in which devices with rows of their own keep parts, with the mesh axes of these."""
        for dimension, axes in enumerate(self.kept):
            axes = (axes,) if isinstance(axes, str) else axes or ()
            if over := tuple(axis for axis in axes if axis in self.rows):
                yield dimension, over


def weight_layout(
    inputs: LogicalAxes, outputs: LogicalAxes, rules: ShardingRules, rows: int
) -> WeightLayout | None:
    """The layout of a weight with these axes by the rules.

    None on one device, and where devices would not have equal numbers of rows, which the compiler splits.
    """
    if jax.sharding.get_abstract_mesh().size <= 1:
        return None
    if rules.mesh_axes("length") or rows % rules.parts("batch"):
        return None
    here, there = ([_OF_ACTIVATIONS.get(axis, axis) for axis in axes] for axes in (inputs, outputs))
    return WeightLayout(
        num_inputs=len(inputs),
        kept=rules.spec((*inputs, *outputs)),
        used=rules.spec((*here, *there)),
        inputs=rules.spec(("batch", "length", *here)),
        outputs=rules.spec(("batch", "length", *there)),
        rows=rules.mesh_axes("batch"),
        reduce_dtype=rules.reduce_dtype,
    )


def gathered(
    weight: jt.Float[jax.Array, "*inputs_and_outputs"], dtype: jnp.dtype, layout: WeightLayout
) -> jt.Float[jax.Array, "*inputs_and_outputs"]:
    """The weight in another type, whole along the axes of rows."""
    if dtype != weight.dtype:
        # Rounds as the cast does, which then loses nothing. The compiler would move the cast alone before the
        # loop over layers and keep the narrow weights of all of them; barriers are gone by then.
        narrow = jnp.finfo(dtype)
        weight = jax.lax.reduce_precision(weight, narrow.nexp, narrow.nmant).astype(dtype)
    parts = list(layout.parts())
    if len(parts) == 1:
        return _gathered_as_kept(weight, *parts[0], layout)
    return jax.lax.with_sharding_constraint(weight, layout.used)


def _gathered_as_kept(
    weight: jax.Array, dimension: int, axes: tuple[str, ...], layout: WeightLayout
) -> jax.Array:
    """The weight, whole along one dimension.

    Parts are gathered as they lie on TPUs, which turn those of a last dimension that are narrower than their
    vectors, or the compiler turns the parts of all layers before their loop, filled up to whole lanes, and
    keeps them. And they are narrow when they are gathered: in a loop over parts of a layer the compiler would
    gather them first.
    """

    def shard(part: jax.Array) -> jax.Array:
        parts = jnp.moveaxis(part, dimension, 0)
        return jnp.moveaxis(jax.lax.all_gather(parts, axes, tiled=True), 0, dimension)

    return jax.shard_map(shard, in_specs=layout.kept, out_specs=layout.used, check_vma=False)(weight)


def summed_gradient(
    x: jt.Float[jax.Array, "B L *inputs"],
    dy: jt.Float[jax.Array, "B L *outputs"],
    dtype: jnp.dtype,
    layout: WeightLayout,
) -> jt.Float[jax.Array, "*inputs_and_outputs"]:
    """The gradient of a weight: of its own rows on each device, then of all, of which each keeps its part."""

    def shard(x: jax.Array, dy: jax.Array) -> jax.Array:
        sizes = (*x.shape[2:], *dy.shape[2:])
        own = product_of_columns(*(each.reshape(-1, math.prod(each.shape[2:])) for each in (x, dy)))
        total = own.astype(layout.reduce_dtype).reshape(sizes)
        left = layout.rows
        for dimension, axes in layout.parts():
            total = jax.lax.psum_scatter(total, axes, scatter_dimension=dimension, tiled=True)
            left = tuple(axis for axis in left if axis not in axes)
        return jax.lax.psum(total, left).astype(dtype) if left else total.astype(dtype)

    return jax.shard_map(
        shard, in_specs=(layout.inputs, layout.outputs), out_specs=layout.kept, check_vma=False
    )(x, dy)
