"""Which dimension of an array is split over which axis of the mesh: one table, checked.

Arrays name their dimensions by *logical axes* ("vocab", "embed", ...); `ShardingRules` maps these to
the axes of the device mesh: `replica` (copies, between slices), `fsdp` and `tensor`, all of type Auto.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from im_jax.errors import ConfigError

LogicalAxes = Sequence[str]
MeshAxes = str | tuple[str, ...] | None

_CONFIG_FIELDS: Final = {
    "embed": "model.embed_dim",
    "heads": "model.num_heads",
    "kv_heads": "model.num_kv_heads",
    "head_dim": "model.head_dim",
    "mlp": "model.mlp_dim",
    "vocab": "model.vocab_size",
    "layers": "model.num_layers",
    "positions": "model.max_positions",
}


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Logical axis -> mesh axis (or several, or None for a dimension that is never split)."""

    # Activations. Rows of a batch go to every device that does not share a row's work.
    batch: MeshAxes = ("replica", "fsdp")
    length: MeshAxes = None
    act_embed: MeshAxes = None  # the model dimension of hidden states
    kept_length: MeshAxes = "tensor"  # positions of hidden states between layers, kept for the backward pass

    # Parameters. ZeRO-3: the model dimension is spread over `fsdp` and gathered when used.
    embed: MeshAxes = "fsdp"
    embedding_width: MeshAxes = None  # of embeddings that are mapped to the model dimension
    norm: MeshAxes = None  # vectors of the model dimension: too small to be worth gathering
    rank: MeshAxes = None  # of adapters: small
    layers: MeshAxes = None  # scanned over
    positions: MeshAxes = None  # rows of the table of learned positions, which every device looks up

    # Both. Megatron: heads, feed-forward and vocabulary are split, so a layer needs two all-reduces.
    heads: MeshAxes = "tensor"
    kv_heads: MeshAxes = "tensor"
    head_dim: MeshAxes = None
    mlp: MeshAxes = "tensor"
    vocab: MeshAxes = "tensor"

    reduce_dtype: str = "float32"
    """Type in which gradients of matrices are summed over devices."""

    def mesh_axes(self, logical_axis: str) -> tuple[str, ...]:
        """Mesh axes that a logical axis is split over; ConfigError if the axis is unknown."""
        known = [item.name for item in dataclasses.fields(self) if item.name != "reduce_dtype"]
        if logical_axis not in known:
            raise ConfigError(f"unknown logical axis {logical_axis!r}; the rules know {', '.join(known)}")
        axes = getattr(self, logical_axis)
        return (axes,) if isinstance(axes, str) else (axes or ())

    def parts(self, logical_axis: str) -> int:
        """Into how many parts the mesh that `jax.set_mesh` set cuts an axis; 1 where none is set."""
        mesh = jax.sharding.get_abstract_mesh()
        return 1 if mesh.empty else self.parts_of(logical_axis, mesh)

    def parts_of(self, logical_axis: str, mesh: Mesh | AbstractMesh) -> int:
        """Into how many parts a mesh cuts an axis."""
        return math.prod(mesh.shape[axis] for axis in self.mesh_axes(logical_axis))

    def spec(self, logical_axes: LogicalAxes) -> PartitionSpec:
        """PartitionSpec of an array with these axes.

        Raises:
            ConfigError: an axis is unknown, or two dimensions would be split over the same mesh axis.
        """
        owner: dict[str, str] = {}
        for logical in logical_axes:
            for mesh_axis in self.mesh_axes(logical):
                if mesh_axis in owner:
                    raise ConfigError(
                        f"an array with axes ({', '.join(logical_axes)}) cannot be sharded: "
                        f"{owner[mesh_axis]!r} and {logical!r} both map to mesh axis {mesh_axis!r}; "
                        "map one of them to None"
                    )
                owner[mesh_axis] = logical
        return PartitionSpec(*(getattr(self, logical) for logical in logical_axes))


def constrain(x: jax.Array, logical_axes: LogicalAxes, rules: ShardingRules) -> jax.Array:
    """`x`, sharded by the rules over the mesh that `jax.set_mesh` set; `x` itself where none is set."""
    spec = rules.spec(logical_axes)
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec)


def everywhere(x: jax.Array | np.ndarray) -> np.ndarray:
    """A global array, whole on this process. Where several hold it, call it on all of them."""
    if not isinstance(x, jax.Array) or x.is_fully_addressable:
        return np.asarray(x)
    assert isinstance(x.sharding, NamedSharding)
    replicated = NamedSharding(x.sharding.mesh, PartitionSpec())
    return np.asarray(jax.jit(lambda y: y, out_shardings=replicated)(x).addressable_data(0))


def check_divisible(shapes: Any, logical_axes: Any, mesh: Mesh | AbstractMesh, rules: ShardingRules) -> None:
    """Checks that every dimension can be cut into equal shards.

    Args:
        shapes: pytree of arrays or `jax.ShapeDtypeStruct`.
        logical_axes: pytree of the same structure with a tuple of logical axes for each array.
        mesh: the devices.
        rules: the table.

    Raises:
        ConfigError: naming the parameter, its dimension, and the fields that decide both sizes.
    """

    def check(path: tuple[Any, ...], array: jax.ShapeDtypeStruct, axes: LogicalAxes) -> None:
        for dimension, (logical, size) in enumerate(zip(axes, array.shape, strict=True)):
            mesh_axes, parts = rules.mesh_axes(logical), rules.parts_of(logical, mesh)
            if size % parts:
                field = _CONFIG_FIELDS.get(logical, logical)
                split = " x ".join(f"mesh.{axis}={mesh.shape[axis]}" for axis in mesh_axes)
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise ConfigError(
                    f"{field} {size} is not divisible by {split} (dimension {dimension} of parameter {name}, "
                    f"shape {array.shape}); change one of them"
                )

    jax.tree_util.tree_map_with_path(check, shapes, logical_axes)
