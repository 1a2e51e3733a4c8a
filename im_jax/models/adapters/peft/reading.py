"""Adapters read from a folder of PEFT's, as fields of `model.lora` and arrays of our tree.

One rank holds for all maps here, the largest; where PEFT has smaller ones, A and B are filled up with zeros.
A scale that differs goes into B. Where a layer is left out, A and B are zeros, which training leaves so: the
gradient of each is a multiple of the other.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from im_jax.config import LoraConfig, ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models.adapters.lora import A, B, scale
from im_jax.models.adapters.peft import config
from im_jax.models.adapters.peft.matching import PeftConfig
from im_jax.models.adapters.peft.modules import PREFIX, Module, modules_of, other_modules
from im_jax.models.adapters.targets import MAPS
from im_jax.models.decoder import Params
from im_jax.models.files.layout import dotted
from im_jax.models.files.safetensors_folder import open_file
from im_jax.models.files.tensors import Tensors, check_tensors, read_finite
from im_jax.stores import readable

WEIGHTS: Final = "adapter_model.safetensors"
_TORCH: Final = "adapter_model.bin"


class Adapter(NamedTuple):
    """An open folder of PEFT's whose tensors fit the model."""

    lora: LoraConfig
    """Rank, alpha, rsLoRA and targets that the folder decides; dropout 0."""
    note: str | None
    """What its user should know; None if nothing."""
    told: PeftConfig
    modules: Mapping[str, tuple[Module, int]]
    """By path in the tree of each adapted map: its module, and which of the module's maps it is."""
    tensors: Tensors
    num_layers: int

    def parameter(self, path: str) -> np.ndarray:
        """A or B of all layers by its path in the tree, in float32.

        Raises:
            CheckpointError: a tensor holds NaN or infinity.
        """
        name, kind = (path.removesuffix(A), A) if path.endswith(A) else (path.removesuffix(B), B)
        module, number = self.modules[name]
        rank = self.lora.rank
        shape = (*module.inputs, rank) if kind == A else (rank, *module.outputs[number])
        values = np.zeros((self.num_layers, *shape), np.float32)
        for layer in range(self.num_layers):
            if not self.told.changes(module.name.format(layer), is_map=True):
                continue
            tensor = self._read(module.tensor_names(layer)[kind == B])
            if kind == A:
                values[layer, ..., : len(tensor)] = module.a_from(tensor)
            else:
                factor = self.told.scale_of(module.name.format(layer)) / scale(self.lora)
                part = module.b_from(tensor, number)
                values[layer, : len(part)] = part if factor == 1 else part * np.float32(factor)
        return values

    def _read(self, name: str) -> np.ndarray:
        tensor = self.tensors[name]
        whole = tuple(slice(0, size) for size in tensor.shape)
        return read_finite(tensor, name, whole).astype(np.float32)


@contextlib.contextmanager
def open_adapter(directory: str | Path, model: ModelConfig) -> Iterator[Adapter]:
    """The adapter in a folder, for a model. Names, shapes and types of all tensors are checked.

    Args:
        directory: with adapter_config.json and adapter_model.safetensors.
        model: the base, its architecture filled in.

    Raises:
        CheckpointError: files are missing or broken, the adapter is more than LoRA of our maps, or it does
            not fit the model.
    """
    directory = readable(directory)
    told, note = config.read(directory)
    modules = modules_of(model)
    changed = [
        (module, layer)
        for module in modules
        for layer in range(model.num_layers)
        if told.changes(module.name.format(layer), is_map=True)
    ]
    where = directory / config.CONFIG
    for name, is_map in other_modules(model).items():
        if told.changes(name, is_map=is_map):
            raise CheckpointError(
                f"{where}: the adapter changes {name}, but adapters of maps of the layers alone are read; "
                f"{config.MERGE}"
            )
    if not changed:
        known = ", ".join(module.name.format(0) for module in modules)
        raise CheckpointError(
            f"{where}: the adapter changes no module of this model, which has {known} and so on: it is of "
            "another base"
        )
    with open_file(_weights(directory)) as tensors:
        _check(tensors, _expected(told, changed), directory / WEIGHTS)
        members = {
            path: (module, number)
            for module in dict.fromkeys(module for module, _ in changed)
            for number, path in enumerate(module.maps)
        }
        yield Adapter(_lora(told, changed, list(members)), note, told, members, tensors, model.num_layers)


def with_adapter_of(directory: str | Path, model: ModelConfig) -> tuple[ModelConfig, str | None]:
    """The model with what a folder decides of `model.lora`, and what its user should know, if anything.

    Raises as `open_adapter`.
    """
    with open_adapter(directory, model) as adapter:
        lora = dataclasses.replace(
            model.lora,
            **{name: getattr(adapter.lora, name) for name in ("rank", "alpha", "rslora", "targets")},
        )
        return dataclasses.replace(model, lora=lora), adapter.note


def read_adapter(directory: str | Path, model: ModelConfig, shardings: Any) -> Params:
    """The parameters of an adapter in their shards.

    Args:
        directory: the folder.
        model: as `with_adapter_of` returned it.
        shardings: of the adapter's parameters, as in the tree of all of them.

    Raises:
        CheckpointError: as `open_adapter`; or a tensor holds NaN or infinity.
    """
    with open_adapter(directory, model) as adapter:

        def read(path: tuple[Any, ...], sharding: jax.sharding.Sharding) -> jax.Array:
            value = adapter.parameter(dotted(path))
            return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)

        params: Params = jax.tree_util.tree_map_with_path(read, shardings)
        return params


def _lora(told: PeftConfig, changed: list[tuple[Module, int]], paths: list[str]) -> LoraConfig:
    names = [module.name.format(layer) for module, layer in changed]
    largest = max(names, key=told.rank_of)
    adapted = {path.rpartition(".")[2] for path in paths}
    return LoraConfig(
        rank=told.rank_of(largest),
        alpha=told.alpha_of(largest),
        rslora=told.rslora,
        targets=",".join(name for name in MAPS if name in adapted),
    )


def _expected(told: PeftConfig, changed: list[tuple[Module, int]]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for module, layer in changed:
        names = module.tensor_names(layer)
        rank = told.rank_of(module.name.format(layer))
        shapes |= dict(zip(names, module.tensor_shapes(rank), strict=True))
    return shapes


def _check(tensors: Tensors, expected: Mapping[str, tuple[int, ...]], where: Path) -> None:
    whole = [name for name in tensors if ".lora_" not in name and name not in expected]
    if whole:
        raise CheckpointError(
            f"{where}: holds {whole[0].removeprefix(PREFIX)}, which was trained or enlarged beside the "
            f"adapter and is not read; {config.MERGE}"
        )
    check_tensors(expected, tensors, where)


def _weights(directory: Path) -> Path:
    path = directory / WEIGHTS
    if not path.is_file() and (directory / _TORCH).is_file():
        old, new = str(directory / _TORCH), str(path)
        raise CheckpointError(
            f"{directory}: has {_TORCH}, but weights are read from safetensors only; save it so, with torch "
            'installed: python -c "import torch; from safetensors.torch import save_file; '
            f'save_file(torch.load({old!r}, weights_only=True), {new!r})"'
        )
    return path
