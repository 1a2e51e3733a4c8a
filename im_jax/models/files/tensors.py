"""Tensors in files, read in parts, and the checks that need no more than their names and shapes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from im_jax.errors import CheckpointError

Index = tuple[slice, ...]
"""The part of a tensor that is wanted: a slice with integer bounds for each dimension."""


class Tensor(NamedTuple):
    """A tensor that has not been read."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors calls it, such as `BF16`."""
    read: Callable[[Index], np.ndarray]
    """Gives the part that an index selects."""
    file: Path
    """Where it stands, for messages."""


Tensors = Mapping[str, Tensor]

_FLOATS: Final = ("F32", "BF16", "F16")


def check_tensors(expected: Mapping[str, tuple[int, ...]], found: Tensors, where: str | Path) -> None:
    """Compares names, shapes and types.

    Raises:
        CheckpointError: says what is missing, too many, of another shape, or no float.
    """
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        raise CheckpointError(f"{where}: missing {_some(missing)}")
    if extra:
        raise CheckpointError(f"{where}: unexpected {_some(extra)}; the model has no such parameters")
    for name, shape in expected.items():
        tensor = found[name]
        if tensor.shape != shape:
            raise CheckpointError(
                f"{tensor.file}: {name} has shape {tensor.shape}, but the model's sizes make it {shape}"
            )
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"{tensor.file}: {name} has type {tensor.dtype}; supported: {', '.join(_FLOATS)}"
            )


def read_finite(tensor: Tensor, name: str, index: Index) -> np.ndarray:
    """The part of a tensor that an index selects.

    Raises:
        CheckpointError: it holds what is no number.
    """
    part = tensor.read(index)
    if not np.isfinite(part).all():
        raise CheckpointError(
            f"{tensor.file}: {name} holds NaN or infinity; the file is damaged, or what trained it diverged"
        )
    return part


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, compared some rows at a time."""
    if one.shape != other.shape:
        return False
    rest = tuple(slice(0, size) for size in one.shape[1:])
    parts = ((slice(at, min(at + 1024, one.shape[0])), *rest) for at in range(0, one.shape[0], 1024))
    return all(np.array_equal(one.read(part), other.read(part)) for part in parts)


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} tensor{'s' * (len(names) > 1)}: {', '.join(names[:5])}{rest}"
