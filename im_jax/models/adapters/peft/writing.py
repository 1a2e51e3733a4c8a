"""Adapters written as PEFT has them.

A module that is several maps has one A and one B there, and each map its own here: the A are stacked, the B
become blocks on a diagonal, and rank and alpha grow alike, so that the scale stays.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from im_jax.config import ModelConfig
from im_jax.models.adapters.lora import A, B, scale
from im_jax.models.adapters.peft import config
from im_jax.models.adapters.peft.modules import Module, modules_of
from im_jax.models.adapters.targets import is_target
from im_jax.models.files.layout import LayersOnDisk, one_layer

Parameter = Callable[[str], jax.Array | np.ndarray | LayersOnDisk]
"""Gives A or B of all layers by its path in the tree."""


class _Written(NamedTuple):
    """A module that is changed."""

    module: Module
    maps: tuple[str, ...]
    """Paths of those of its maps that are adapted."""
    shared: bool
    """Whether all of these have the same A, as where PEFT trained it."""
    rank: int
    """In the file."""


class Files(NamedTuple):
    """What stands in the files of an adapter."""

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    """Of all tensors, by name."""
    tensors: Iterator[tuple[str, np.ndarray]]
    """In the order of `shapes`, float32, read module by module."""


def adapter_files(model: ModelConfig, parameter: Parameter, base: str) -> Files:
    """What PEFT's files of a model's adapter hold.

    Args:
        model: with its adapter.
        parameter: gives the adapter's parameters.
        base: the model that it is of: a path, or a name in the Hugging Face hub.

    Raises:
        CheckpointError: the model is of no family.
    """
    everything = modules_of(model)
    modules = [
        written for module in everything if (written := _written(module, model, parameter)) is not None
    ]
    shapes: dict[str, tuple[int, ...]] = {}
    for written in modules:
        for layer in range(model.num_layers):
            names = written.module.tensor_names(layer)
            shapes |= dict(zip(names, written.module.tensor_shapes(written.rank), strict=True))
    return Files(_config(model, modules, everything, base), shapes, _tensors(model, modules, parameter))


def _written(module: Module, model: ModelConfig, parameter: Parameter) -> _Written | None:
    maps = tuple(path for path in module.maps if is_target(model.lora, path.rpartition(".")[2]))
    if not maps:
        return None
    shared = len(maps) == 1 or _alike([parameter(path + A) for path in maps], model.num_layers)
    return _Written(module, maps, shared, model.lora.rank * (1 if shared else len(maps)))


def _alike(values: list[jax.Array | np.ndarray | LayersOnDisk], num_layers: int) -> bool:
    def layer_is_alike(layer: int) -> bool:
        first, *others = (one_layer(value, layer) for value in values)
        return all(np.array_equal(first, other) for other in others)

    return all(map(layer_is_alike, range(num_layers)))


def _tensors(
    model: ModelConfig, modules: list[_Written], parameter: Parameter
) -> Iterator[tuple[str, np.ndarray]]:
    for written in modules:
        values = {path: (parameter(path + A), parameter(path + B)) for path in written.maps}
        for layer in range(model.num_layers):
            pairs = {path: (one_layer(a, layer), one_layer(b, layer)) for path, (a, b) in values.items()}
            names, module = written.module.tensor_names(layer), written.module
            yield names[0], np.ascontiguousarray(module.a_to(_stacked(written, pairs)))
            yield names[1], np.ascontiguousarray(module.b_to(_blocks(written, pairs)))
        del values  # before the next ones are made


_Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""A and B of one layer by the path of their map."""


def _stacked(written: _Written, pairs: _Pairs) -> np.ndarray:
    """A of the module, [*inputs, rank]."""
    every = [a for a, _ in pairs.values()]
    return every[0] if written.shared else np.concatenate(every, -1)


def _blocks(written: _Written, pairs: _Pairs) -> list[np.ndarray]:
    """B of each map of the module, [rank, *outputs]: zeros but for the rows of its own A."""
    blocks, start = [], 0
    for path, outputs in zip(written.module.maps, written.module.outputs, strict=True):
        block = np.zeros((written.rank, *outputs), np.float32)
        if path in pairs:
            b = pairs[path][1]
            block[start : start + len(b)] = b
            start += 0 if written.shared else len(b)
        blocks.append(block)
    return blocks


def _config(
    model: ModelConfig, modules: list[_Written], everything: list[Module], base: str
) -> dict[str, Any]:
    lora = model.lora
    largest = max(written.rank for written in modules)
    smaller = {_end(w.module, everything): w.rank for w in modules if w.rank != largest}
    # Some readers, such as vLLM, know one rank and alpha alone: then the scale is that of all modules for
    # them too, as long as it is alpha / rank.
    rslora = lora.rslora and not smaller

    def alpha(rank: int) -> float:
        if lora.rslora and not rslora:
            return scale(lora) * rank
        growth = rank / lora.rank
        return lora.alpha * (math.sqrt(growth) if rslora else growth)

    return config.written(
        rank=largest,
        alpha=alpha(largest),
        rslora=rslora,
        dropout=lora.dropout,
        targets=[_end(written.module, everything) for written in modules],
        ranks=smaller,
        alphas={end: alpha(rank) for end, rank in smaller.items()},
        transposed=any(module.transposed for module in everything),
        base=base,
    )


def _end(module: Module, everything: list[Module]) -> str:
    """The shortest end of a module's name that no other has."""
    parts = module.name.split(".")
    for count in range(1, len(parts)):
        end = ".".join(parts[-count:])
        if not any(f".{other.name}".endswith(f".{end}") for other in everything if other is not module):
            return end
    raise AssertionError(module.name)
