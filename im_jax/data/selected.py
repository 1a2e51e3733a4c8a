"""Examples of one or several encoded data sets in any order, the arrays of the sets left where they are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import EncodedDataset, ExampleView, Flat


@dataclass(frozen=True, eq=False)
class SelectedDataset:
    """E examples, 6 bytes each beside what the sources hold; one may occur several times.

        sources a b      source 0 0 1 1 1      numbers 0 7 0 0 3

    is the examples 0 and 7 of `a`, then 0 twice and 3 of `b`. Ids are `a/ID`, so that they are unique; those
    of a single source without a name stay as they are.
    """

    parts: Sequence[EncodedDataset]
    sources: tuple[str, ...]
    """Name of each part."""
    source: jt.UInt16[np.ndarray, " E"]
    """Which part an example is of."""
    numbers: jt.Int32[np.ndarray, " E"]
    """Its number there."""

    @classmethod
    def of(cls, parts: Sequence[EncodedDataset], names: Sequence[str] = ("",)) -> "SelectedDataset":
        """All examples of some sources, in their order."""
        sizes = [len(part) for part in parts]
        source = np.repeat(np.arange(len(parts), dtype=np.uint16), sizes)
        numbers = [np.zeros(0, np.int32), *(np.arange(size, dtype=np.int32) for size in sizes)]
        return cls(parts, tuple(names), source, np.concatenate(numbers))

    @property
    def is_mixture(self) -> bool:
        """Whether its sources have names: a single one may have none."""
        return self.sources != ("",)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> ExampleView:
        source = int(self.source[index])
        view = self.parts[source][int(self.numbers[index])]
        return view._replace(id=f"{self.sources[source]}/{view.id}") if self.is_mixture else view

    @property
    def lengths(self) -> jt.Int32[np.ndarray, " E"]:
        """Tokens of each example, gathered anew each time."""
        return self.column("lengths")

    def column(self, name: str) -> np.ndarray:
        """A value of each example, as the parts call it: `turns`, `whole`."""
        values = [getattr(part, name) for part in self.parts]
        found = np.zeros(len(self), np.result_type(*values) if values else np.int32)
        for at, column in enumerate(values):
            mine = self.source == at
            found[mine] = column[self.numbers[mine]]
        return found

    def targets(self, numbers: jt.Int[np.ndarray, " N"]) -> jt.UInt[np.ndarray, "N C"]:
        """See `Dataset.targets`."""
        types = [part.histograms.dtype for part in self.parts]
        width = max((part.histograms.shape[1] for part in self.parts), default=0)
        found = np.zeros((len(numbers), width), np.result_type(*types) if types else np.uint8)
        source = self.source[numbers]
        for at, part in enumerate(self.parts):
            mine = source == at
            found[mine] = part.targets(self.numbers[numbers][mine])
        return found

    def flat(self, numbers: jt.Int[np.ndarray, " N"]) -> Flat:
        """See `Dataset.flat`."""
        source, of_part = self.source[numbers], self.numbers[numbers]
        lengths = np.zeros(len(numbers), np.int64)
        for at, part in enumerate(self.parts):
            mine = source == at
            lengths[mine] = part.lengths[of_part[mine]]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        tokens, classes = np.zeros(bounds[-1], np.int32), np.zeros(bounds[-1], np.uint8)
        for at, part in enumerate(self.parts):
            mine = source == at
            found = part.flat(of_part[mine])
            places = np.repeat(mine, lengths)
            tokens[places], classes[places] = found.tokens, found.classes
        return Flat(tokens, classes, bounds)

    def measured(self, name: str, numbers: jt.Int[np.ndarray, " N"]) -> jt.Integer[np.ndarray, " N"]:
        """See `Dataset.measured`."""
        return self.take(numbers).column(name)

    def take(self, numbers: jt.Int[np.ndarray, " N"]) -> "SelectedDataset":
        """Some of the examples, in the order of their numbers."""
        return SelectedDataset(self.parts, self.sources, self.source[numbers], self.numbers[numbers])

    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`: that of the same examples in one data set."""
        return hashlib.sha256(self.column("digest").astype("<u8", copy=False).data).hexdigest()
