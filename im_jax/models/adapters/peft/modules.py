"""The modules of a family of checkpoints that are maps of our layers, and how an adapter's tensors are cut.

A module may be one map, or several: a `qkv_proj` is queries, keys and values. PEFT gives it one A and one B,
where we have a pair for each map.
"""

import dataclasses
import math
import re
from typing import Any, Final, NamedTuple

import numpy as np

from im_jax.config import ModelConfig
from im_jax.models.adapters.lora import base_of
from im_jax.models.adapters.targets import MAPS
from im_jax.models.decoder import abstract_params
from im_jax.models.families import family_for
from im_jax.models.files.layout import Layout, Stored, by_path
from im_jax.models.quantised.maps import wide

PREFIX: Final = "base_model.model."
"""Of all tensors in PEFT's files, before the names that the model itself has."""
_WEIGHT: Final = ".weight"


class Module(NamedTuple):
    """A module of every layer, and the maps that it is made of."""

    name: str
    """`{}` stands for the layer."""
    maps: tuple[str, ...]
    """Paths in the tree of parameters, in order."""
    inputs: tuple[int, ...]
    """Sizes of our dimensions that each map sums over."""
    outputs: tuple[tuple[int, ...], ...]
    """Of each map, sizes of the other dimensions."""
    rows: Stored
    """How B, `[rank, *outputs]` here, lies in the file, `[out, rank]`."""
    transposed: bool
    """Whether the module's own matrix is `[in, out]`."""

    def tensor_names(self, layer: int) -> tuple[str, str]:
        """Names of A and B in PEFT's files."""
        name = PREFIX + self.name.format(layer)
        return f"{name}.lora_A.weight", f"{name}.lora_B.weight"

    def tensor_shapes(self, rank: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of A and B in PEFT's files."""
        return (rank, math.prod(self.inputs)), (sum(map(math.prod, self.outputs)), rank)

    def a_from(self, tensor: np.ndarray) -> np.ndarray:
        """A, [*inputs, rank], from `[rank, in]`: that of each map."""
        return tensor.T.reshape(*self.inputs, len(tensor))

    def a_to(self, a: np.ndarray) -> np.ndarray:
        """The reverse of `a_from`."""
        return a.reshape(-1, a.shape[-1]).T

    def b_from(self, tensor: np.ndarray, number: int) -> np.ndarray:
        """B, [rank, *outputs], of one of the maps, from `[out, rank]`."""
        shape = (tensor.shape[1], *self.outputs[number])
        whole = tuple(slice(0, size) for size in shape)
        turn, turns = (number, len(self.maps)) if self.rows.takes_turns else (0, 1)
        start = 0 if self.rows.takes_turns else sum(map(math.prod, self.outputs[:number]))
        part = tensor[self.rows.tensor_index(shape, whole, start, turns)]
        return self.rows.from_tensor(part, shape, whole, turn, turns)

    def b_to(self, values: list[np.ndarray]) -> np.ndarray:
        """`[out, rank]` of the B of all maps, in order."""
        return self.rows.to_tensor(values)


def modules_of(model: ModelConfig) -> list[Module]:
    """The modules of the model's family that are maps of its layers.

    Raises:
        CheckpointError: the model is of no family.
    """
    arrays, layout = _arrays(model), _layout(model)
    sharing: dict[str, list[str]] = {}
    for path, stored in layout.items():
        if path in arrays and path.startswith("layers.") and path.rpartition(".")[2] in MAPS:
            sharing.setdefault(stored.name, []).append(path)
    shapes = {path: arrays[path].shape[1:] for paths in sharing.values() for path in paths}
    return [_module(layout[paths[0]], paths, [shapes[path] for path in paths]) for paths in sharing.values()]


def other_modules(model: ModelConfig) -> dict[str, bool]:
    """Names of all other modules with a matrix, and whether `all-linear` means them, as PEFT has it."""
    arrays, layout = _arrays(model), _layout(model)
    tables = ("embedding", "position_embedding", "head")
    return {
        stored.name.removesuffix(_WEIGHT): path not in tables
        for path, stored in layout.items()
        if (path in arrays or path == "head") and not path.startswith("layers.") and len(stored.dims) == 2
    }


def _arrays(model: ModelConfig) -> dict[str, Any]:
    # Whatever the size of the vocabulary, which may not be known yet.
    return by_path(abstract_params(dataclasses.replace(wide(base_of(model)), vocab_size=2)))


def _layout(model: ModelConfig) -> Layout:
    return family_for(model, model.path or "the model").layout


def _module(stored: Stored, paths: list[str], shapes: list[tuple[int, ...]]) -> Module:
    ours, theirs = stored.pattern.split(" -> ")
    words, groups = ours.split(), re.findall(r"\([^)]*\)|\S+", theirs)
    into = next(group for group in groups if words[0] in group.strip("()").split())
    (out,) = (group for group in groups if group != into)
    count = len(into.strip("()").split())
    rows = Stored("", f"r {' '.join(words[count:])} -> {out} r", None if stored.joined is None else 0)
    return Module(
        name=stored.name.removesuffix(_WEIGHT),
        maps=tuple(paths),
        inputs=shapes[0][:count],
        outputs=tuple(shape[count:] for shape in shapes),
        rows=rows,
        transposed=groups.index(into) == 0,
    )
