"""The fingerprint of examples as it was before they had digests, by which runs of that time are known."""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import UNWEIGHTED, Dataset, EncodedDataset
from im_jax.data.selected import SelectedDataset

_BLOCK: Final = 1 << 20


def first_fingerprint(dataset: Dataset) -> str:
    """Of all lengths, tokens, classes and weights; of what there was not then, the fingerprint of today.

    There were no mixtures then, and no examples that are made when they are read.
    """
    if isinstance(dataset, EncodedDataset):
        return _Stored.of(dataset, np.arange(len(dataset))).fingerprint()
    if isinstance(dataset, SelectedDataset) and not dataset.is_mixture:
        return _Stored.of(dataset.parts[0], dataset.numbers).fingerprint()
    return dataset.fingerprint()


class _Stored(NamedTuple):
    """Some examples of a data set, by where they lie in its flat arrays."""

    whole: EncodedDataset
    starts: jt.Int64[np.ndarray, " E"]
    lengths: jt.Int32[np.ndarray, " E"]
    weight_starts: jt.Int64[np.ndarray, " E"]

    @classmethod
    def of(cls, whole: EncodedDataset, numbers: jt.Int[np.ndarray, " E"]) -> "_Stored":
        return cls(whole, whole.starts[numbers], whole.lengths[numbers], whole.weight_starts[numbers])

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        digest.update(np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)]).astype(np.int64).data)
        for flat in (self.whole.tokens, self.whole.classes):
            for run in self._runs():
                digest.update(np.ascontiguousarray(flat[run]).data)
        for weights in self._weights():
            digest.update(np.ascontiguousarray(weights).data)
        return digest.hexdigest()

    def _runs(self) -> Iterator[slice]:
        """Where the examples lie in the flat arrays, in order; neighbours that touch are one slice."""
        ends, count = self.starts + self.lengths, len(self.starts)
        cuts = np.flatnonzero(self.starts[1:] != ends[:-1]) + 1
        for first, after in zip([0, *cuts], [*cuts, count], strict=True):
            if first < after:
                yield slice(int(self.starts[first]), int(ends[after - 1]))

    def _weights(self) -> Iterator[jt.Float32[np.ndarray, " _"]]:
        """The weight of every token in order, in blocks."""
        weighted, count = np.flatnonzero(self.weight_starts != UNWEIGHTED), len(self.starts)
        before = 0
        for index in [*weighted.tolist(), count]:
            ones = int(self.lengths[before:index].sum(dtype=np.int64))
            for start in range(0, ones, _BLOCK):
                yield np.ones(min(_BLOCK, ones - start), np.float32)
            if index < count:
                start = int(self.weight_starts[index])
                yield self.whole.weights[start : start + int(self.lengths[index])]
            before = index + 1
