"""Encoded chunks joined to one data set: the arrays of each, shifted, behind those that came before."""

import array
import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from im_jax.data.dataset import UNWEIGHTED, EncodedDataset
from im_jax.data.ids import Ids
from im_jax.errors import DataError
from im_jax.token_classes import NUM_CLASSES

_IDS: Final = "ids."
_OPTIONAL: Final = ("weights", "weight_starts")
"""Arrays that are there only if a message of any example has a weight."""
_DERIVED: Final = ("ids", "starts")
_COLUMNS: Final = tuple(
    field.name for field in dataclasses.fields(EncodedDataset) if field.name not in (*_DERIVED, *_OPTIONAL)
)


class Joiner:
    """Hands the arrays of data sets on by name, so that those of one name, end to end, are the whole set's.

    The arrays depend on the examples and on where the parts were cut, which never depends on who made them.
    """

    def __init__(self, append: Callable[[str, np.ndarray], None]) -> None:
        """`append` is given the name of an array, and what comes next in it."""
        self._append = append
        self._examples = self._weights = self._text = self._prefixes = 0
        self._last_prefix: bytes | None = None
        self._has_weights = False

    def add(self, part: EncodedDataset) -> None:
        """Append a part. It holds its examples only, one after the other: no part of another set."""
        for name in _COLUMNS:
            self._append(name, getattr(part, name))
        self._add_weights(part)
        self._add_ids(part.ids)
        self._examples += len(part)

    def _add_weights(self, part: EncodedDataset) -> None:
        if len(part.weights) and not self._has_weights:
            self._has_weights = True
            self._append("weight_starts", np.full(self._examples, UNWEIGHTED, np.int64))
        if self._has_weights:
            shifted = np.where(
                part.weight_starts == UNWEIGHTED, UNWEIGHTED, part.weight_starts + self._weights
            )
            self._append("weight_starts", shifted.astype(np.int64))
            self._append("weights", part.weights)
            self._weights += len(part.weights)

    def _add_ids(self, ids: Ids) -> None:
        """Their prefixes; where the first goes on with the last one there is, that one serves."""
        if not len(ids):
            return
        first = ids.text[ids.bounds[0] : ids.bounds[1]].tobytes()
        again = int(first == self._last_prefix)
        text, bounds = ids.text[ids.bounds[again] :], ids.bounds[again:]
        shift = self._text - int(bounds[0])
        if not self._prefixes:
            self._append(f"{_IDS}bounds", np.zeros(1, np.int64))
        self._append(f"{_IDS}text", text)
        self._append(f"{_IDS}bounds", bounds[1:] + shift)
        self._append(f"{_IDS}prefixes", (ids.prefixes + (self._prefixes - again)).astype(np.int32))
        self._append(f"{_IDS}numbers", ids.numbers)
        self._last_prefix = ids.text[ids.bounds[-2] : ids.bounds[-1]].tobytes()
        self._prefixes += len(bounds) - 1
        self._text += len(text)


class InMemory:
    """A data set that grows in memory: no more than a sixteenth too large, and no part is kept beside it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._flat: dict[str, array.array[int]] = {}
        self._joiner = Joiner(self._append)

    def add(self, part: EncodedDataset) -> None:
        """See `Joiner.add`."""
        self._joiner.add(part)

    def finish(self) -> EncodedDataset:
        """All of them; nothing can be added after."""
        return from_arrays(
            {
                name: np.frombuffer(self._flat[name], dtype).reshape(-1, *rest)
                for name, (dtype, rest) in self._kinds.items()
            }
        )

    def _append(self, name: str, values: np.ndarray) -> None:
        if name not in self._flat:
            self._kinds[name] = values.dtype, values.shape[1:]
            self._flat[name] = array.array("B")
        self._flat[name].frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def from_arrays(arrays: Mapping[str, np.ndarray]) -> EncodedDataset:
    """The data set of arrays that a `Joiner` handed on; nothing is copied.

    Raises:
        DataError: an array is missing, or they do not fit each other.
    """
    if not arrays:
        return EncodedDataset.from_examples([])
    lengths = _found(arrays, "lengths")
    count = len(lengths)
    ends = np.cumsum(lengths, dtype=np.int64)
    weight_starts = arrays.get("weight_starts", np.broadcast_to(np.int64(UNWEIGHTED), count))
    named = {field.name: _IDS + field.name for field in dataclasses.fields(Ids)}
    # Of no examples nothing was handed on.
    ids = Ids(**{field: _found(arrays, name) for field, name in named.items()}) if count else Ids.of([])
    columns = {name: _found(arrays, name) for name in _COLUMNS}
    flat = int(ends[-1]) if count else 0
    sizes = {name: flat if name in ("tokens", "classes") else count for name in columns}
    if any(len(columns[name]) != size for name, size in sizes.items()) or len(ids) != count:
        raise DataError("its arrays are of different numbers of examples")
    if columns["histograms"].shape[1:] != (NUM_CLASSES,):
        raise DataError("it is of a version with other token classes")
    return EncodedDataset(
        ids=ids,
        starts=ends - lengths,
        weights=arrays.get("weights", np.zeros(0, np.float32)),
        weight_starts=weight_starts,
        **columns,
    )


def _found(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise DataError(f"its array {name} is missing")
    return arrays[name]
