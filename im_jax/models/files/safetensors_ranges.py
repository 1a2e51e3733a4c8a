"""A safetensors file of an object store: its header, and the ranges of its tensors that are asked for.

    8 bytes   length of the header, little end first
    header    JSON: {"NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}
    the rest  values, row after row

The format: https://github.com/huggingface/safetensors#format. Files on disks are mapped by its own library.
"""

import collections
import functools
import json
import math
import threading
from typing import Any, Final

import ml_dtypes
import numpy as np

from im_jax.errors import CheckpointError
from im_jax.models.files.tensors import Index, Tensor
from im_jax.stores import StorePath

_LENGTH_BYTES: Final = 8
_MAX_HEADER: Final = 100_000_000
"""Bytes, the limit of the format."""
_KEPT_BYTES: Final = 1 << 32
"""Of ranges that were read: where devices hold columns of a matrix, each asks for the same rows."""
_DTYPES: Final = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class Ranges:
    """Ranges of objects, the last ones of which are kept. For several threads."""

    def __init__(self, most: int = _KEPT_BYTES) -> None:
        """`most`: bytes that are kept."""
        self._most, self._size = most, 0
        self._kept: collections.OrderedDict[tuple[StorePath, int, int], bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: StorePath, start: int, stop: int) -> bytes:
        """Bytes of an object. Raises UserError."""
        where = path, start, stop
        with self._lock:
            if where in self._kept:
                self._kept.move_to_end(where)
                return self._kept[where]
        found = path.read_range(start, stop)
        with self._lock:
            self._size += len(found) if where not in self._kept else 0
            self._kept[where] = found
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found


def tensors_in(path: StorePath, ranges: Ranges) -> dict[str, Tensor]:
    """All tensors of a file by name, none of them read yet.

    Raises:
        FileNotFoundError: it is not there.
        CheckpointError: it is cut, or no safetensors file.
        UserError: the store refuses.
    """
    size = path.stat().st_size
    if size < _LENGTH_BYTES:
        raise _not_whole(path, f"it has {size} bytes")
    length = int.from_bytes(path.read_range(0, _LENGTH_BYTES), "little")
    begin = _LENGTH_BYTES + length
    if length > _MAX_HEADER or begin > size:
        raise _not_whole(path, f"its header would have {length} bytes, and the file has {size}")
    try:
        header = json.loads(path.read_range(_LENGTH_BYTES, begin))
        header.pop("__metadata__", None)
        told = {name: _placed(entry) for name, entry in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _not_whole(path, f"its header cannot be understood ({error!r})") from None
    end = begin + max((stop for _, _, _, stop in told.values()), default=0)
    if end != size:
        raise _not_whole(path, f"it has {size} bytes, and its header asks for {end}")
    return {
        name: Tensor(shape, kind, functools.partial(_read, path, ranges, begin + start, kind, shape), path)
        for name, (kind, shape, start, _) in told.items()
    }


def _not_whole(path: StorePath, why: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a whole safetensors file: {why}; copy it there again")


def _placed(entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, first byte and end of a tensor. Raises what Python raises at other values."""
    kind, shape, (start, stop) = str(entry["dtype"]), tuple(map(int, entry["shape"])), entry["data_offsets"]
    wanted = math.prod(shape) * _DTYPES[kind].itemsize if kind in _DTYPES else stop - start
    if min((*shape, start), default=0) < 0 or stop - start != wanted:
        raise ValueError(f"{entry} contradicts itself")
    return kind, shape, start, stop


def _read(
    path: StorePath, ranges: Ranges, begin: int, kind: str, shape: tuple[int, ...], index: Index
) -> np.ndarray:
    """Part of a tensor: the rows that it is in are read, whole."""
    if kind not in _DTYPES:
        raise CheckpointError(f"{path}: holds a tensor of type {kind}; supported: {', '.join(_DTYPES)}")
    dtype = _DTYPES[kind]
    if not shape or not math.prod(shape):
        found = ranges.read(path, begin, begin + dtype.itemsize) if not shape else b""
        return np.frombuffer(found, dtype).reshape(shape)[index]
    first, stop, _ = index[0].indices(shape[0])
    row = math.prod(shape[1:]) * dtype.itemsize
    rows = np.frombuffer(ranges.read(path, begin + first * row, begin + stop * row), dtype)
    return rows.reshape(stop - first, *shape[1:])[(slice(None), *index[1:])]
