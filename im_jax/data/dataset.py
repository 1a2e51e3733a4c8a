"""Encoded examples, held compactly in memory and read at random."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.data.encoding import EncodedExample


class ExampleView(NamedTuple):
    """One example of an `EncodedDataset`: views, not copies."""

    id: str
    tokens: jt.Int32[np.ndarray, " T"]
    classes: jt.UInt8[np.ndarray, " T"]
    weights: jt.Float32[np.ndarray, " T"]


@runtime_checkable
class Dataset(Protocol):
    """Encoded examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ExampleView: ...

    def fingerprint(self) -> str:
        """Equal for equal examples in equal order."""


@dataclass(frozen=True)
class EncodedDataset:
    """Examples end to end in flat arrays: 9 bytes a token, however many examples there are."""

    ids: tuple[str, ...]
    offsets: jt.Int64[np.ndarray, " E_plus_1"]
    """Example `i` is `[offsets[i], offsets[i + 1])` of the flat arrays."""
    tokens: jt.Int32[np.ndarray, " S"]
    classes: jt.UInt8[np.ndarray, " S"]
    weights: jt.Float32[np.ndarray, " S"]

    @classmethod
    def from_examples(cls, examples: Iterable[EncodedExample]) -> "EncodedDataset":
        """Join encoded examples, in order."""
        kept = list(examples)
        lengths = [len(example.tokens) for example in kept]
        return cls(
            ids=tuple(example.id for example in kept),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            tokens=_join([example.tokens for example in kept], np.int32),
            classes=_join([example.classes for example in kept], np.uint8),
            weights=_join([example.weights for example in kept], np.float32),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """Equal for equal examples in equal order, whatever they are called."""
        digest = hashlib.sha256()
        for array in (self.offsets, self.tokens, self.classes, self.weights):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def __getitem__(self, index: int) -> ExampleView:
        at = slice(self.offsets[index], self.offsets[index + 1])
        return ExampleView(self.ids[index], self.tokens[at], self.classes[at], self.weights[at])

    @property
    def lengths(self) -> jt.Int64[np.ndarray, " E"]:
        """Tokens of each example."""
        return np.diff(self.offsets)


def _join(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)
