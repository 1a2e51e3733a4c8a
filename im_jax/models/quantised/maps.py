"""Linear maps of layers in NF4, as the tree of parameters has them.

In place of a map such as `layers.attention.query` [layers, *inputs, *outputs] there are its codes,
`query_nf4` [layers, I/2, *outputs], and the scales of their blocks, `query_nf4_scales`
[layers, I/64, *outputs], where I counts the inputs of all dimensions. On a mesh both are cut as the first
dimension of inputs is.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final

import jax
from flax import nnx, traverse_util
from jax.sharding import AbstractMesh, Mesh

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters.targets import MAPS
from im_jax.models.quantised.nf4 import BLOCK, quantise
from im_jax.models.sharding import ShardingRules

CODES: Final = "_nf4"
SCALES: Final = "_nf4_scales"
"""Behind the name of a map, the names of its parameters."""
NF4: Final = "nf4"
"""Choice of `model.base_dtype`."""


def is_quantised(path: str) -> bool:
    """Whether the parameter with this path in the tree is a part of a map in NF4."""
    return path.endswith((CODES, SCALES))


def map_of(path: str) -> str:
    """The path of the map that the parameter with this path is a part of."""
    return path.removesuffix(SCALES).removesuffix(CODES)


def wide(model: ModelConfig) -> ModelConfig:
    """The model with all of its maps in `param_dtype`, as files have them."""
    return dataclasses.replace(model, base_dtype="param_dtype")


def takes(model: ModelConfig, name: str) -> bool:
    """Whether the model has the map of that name in NF4."""
    return model.base_dtype == NF4 and name in MAPS


def new_map(
    name: str, weight: jax.Array, inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> tuple[nnx.Param[Any], nnx.Param[Any]]:
    """Parameters of a map: codes and scales.

    Args:
        name: of the map.
        weight: [*inputs, *outputs].
        inputs: size of each dimension that is summed over, by logical axis.
        outputs: of the others.

    Raises:
        ConfigError: the inputs are no whole number of blocks.
    """
    count = math.prod(inputs.values())
    if count % BLOCK:
        raise ConfigError(
            f"model.base_dtype={NF4} takes {BLOCK} inputs of a map together, which do not divide the {count} "
            f"of {name}; leave model.base_dtype at param_dtype"
        )
    parts = quantise(weight.reshape(count, *outputs.values()))
    axes = (next(iter(inputs)), *outputs)
    codes, scales = (nnx.Param(part, logical_axes=axes, num_inputs=len(inputs)) for part in parts)
    return codes, scales


def check_blocks(shapes: Any, logical_axes: Any, mesh: Mesh | AbstractMesh, rules: ShardingRules) -> None:
    """Checks that each device gets whole blocks.

    Args:
        shapes: of all parameters.
        logical_axes: a tree like it, with a tuple for each.
        mesh: the devices.
        rules: how they share parameters.

    Raises:
        ConfigError: naming the map, and what decides both sizes.
    """
    axes = traverse_util.flatten_dict(logical_axes)
    for path, array in traverse_util.flatten_dict(shapes).items():
        if not path[-1].endswith(SCALES):
            continue
        mesh_axes = rules.mesh_axes(axes[path][1])
        blocks, parts = array.shape[1], math.prod(mesh.shape[axis] for axis in mesh_axes)
        if blocks % parts:
            split = " x ".join(f"mesh.{axis}={mesh.shape[axis]}" for axis in mesh_axes)
            raise ConfigError(
                f"{map_of('.'.join(path))} has {blocks * BLOCK} inputs, {blocks} blocks of {BLOCK} with "
                f"model.base_dtype={NF4}, which {split} does not divide; change mesh.{mesh_axes[0]}"
            )
