"""Weights written as safetensors, one tensor in memory at a time: a file, or shards and their index."""

import json
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, NamedTuple

import jax.numpy as jnp
import numpy as np

from im_jax.errors import CheckpointError
from im_jax.files import writing
from im_jax.models.files.safetensors_folder import INDEX, SINGLE

DTYPES: Final = MappingProxyType({"float32": "F32", "bfloat16": "BF16", "float16": "F16"})
"""What safetensors calls the types that weights are written in."""
_BYTES: Final = {"F32": 4, "BF16": 2, "F16": 2}
_ALIGNED: Final = 8
_PIECE_BYTES: Final = 2**24
"""About what of a tensor is laid out and rounded at a time, which takes memory beside it."""

Shapes = Mapping[str, tuple[int, ...]]


class Shard(NamedTuple):
    """A file, and what it holds."""

    file: str
    shapes: Shapes


def plan(shapes: Shapes, dtype: str, max_bytes: float = math.inf) -> list[Shard]:
    """Which tensors stand in which file, in order.

    Args:
        shapes: of all tensors, by name.
        dtype: one of `DTYPES`.
        max_bytes: of the tensors of one file; one that is larger has a file of its own.
    """
    groups: list[dict[str, tuple[int, ...]]] = [{}]
    held = 0
    for name, shape in shapes.items():
        size = _size(shape, dtype)
        if groups[-1] and held + size > max_bytes:
            groups.append({})
            held = 0
        groups[-1][name] = shape
        held += size
    if len(groups) == 1:
        return [Shard(SINGLE, groups[0])]
    return [
        Shard(f"model-{number:05}-of-{len(groups):05}.safetensors", group)
        for number, group in enumerate(groups, start=1)
    ]


def write_tensors(
    directory: Path,
    shapes: Shapes,
    dtype: str,
    tensors: Iterable[tuple[str, np.ndarray]],
    max_bytes: float = math.inf,
) -> list[str]:
    """Writes `model.safetensors`, or shards and their index.

    Args:
        directory: where to.
        shapes: of all tensors, by name.
        dtype: of all of them in the files.
        tensors: in the order of `shapes`, of any type of real numbers; they are rounded to `dtype`.
        max_bytes: of a file, as in `plan`.

    Returns:
        The names of the files with weights.

    Raises:
        CheckpointError: a number is not finite, or has no place in `dtype`.
        StorageError: a file cannot be written.
    """
    shards, left = plan(shapes, dtype, max_bytes), iter(tensors)
    for shard in shards:
        write_file(directory / shard.file, shard.shapes, dtype, left)
    if len(shards) > 1:
        index = {
            "metadata": {
                "total_parameters": sum(map(math.prod, shapes.values())),
                "total_size": sum(_size(shape, dtype) for shape in shapes.values()),
            },
            "weight_map": {name: shard.file for shard in shards for name in sorted(shard.shapes)},
        }
        with writing(directory / INDEX):
            (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return [shard.file for shard in shards]


def write_file(path: Path, shapes: Shapes, dtype: str, tensors: Iterator[tuple[str, np.ndarray]]) -> None:
    """Writes one file with these tensors, the next ones of `tensors`, in the order of `shapes`.

    Raises:
        StorageError: it cannot be written.
    """
    with writing(path), path.open("wb") as file:
        file.write(_header(shapes, dtype))
        _write_data(file, shapes, dtype, tensors)
        file.flush()
        os.fsync(file.fileno())


def _header(shapes: Shapes, dtype: str) -> bytes:
    """Length of what follows, then for each tensor type, shape and place."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + _size(shape, dtype)
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return struct.pack("<Q", len(text)) + text


def _write_data(
    file: BinaryIO, shapes: Shapes, dtype: str, tensors: Iterator[tuple[str, np.ndarray]]
) -> None:
    for name, shape in shapes.items():
        given, value = next(tensors)
        assert (given, value.shape) == (name, shape)
        rows = max(1, _PIECE_BYTES * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            file.write(_rounded(name, value[start : start + rows], dtype).view(np.uint8).data)
        del value  # before the next one is read


def _rounded(name: str, part: np.ndarray, dtype: str) -> np.ndarray:
    """Part of a tensor in another type and in the order of a file, if its numbers have a place in it."""
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(part, jnp.dtype(dtype))
    if not np.isfinite(rounded).all():
        why = f"numbers that are too large for {dtype}" if np.isfinite(part).all() else "NaN or infinity"
        raise CheckpointError(f"{name} holds {why}; set another --dtype, or export another checkpoint")
    return rounded


def _size(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * _BYTES[DTYPES[dtype]]
