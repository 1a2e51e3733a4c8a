"""Encoded examples in flat arrays, in memory or mapped from files, and read at random."""

import array
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.data.encoding import EncodedExample
from im_jax.data.ids import Ids, IdsBuilder
from im_jax.token_classes import NUM_CLASSES

_UNWEIGHTED: Final = -1
_BLOCK: Final = 1 << 20
MEASURES: Final = ("instruction_words", "output_words", "turns", "full_length")
"""What is known of an example as it was before truncation: see `im_jax.data.statistics.measures`."""
DIGESTS: Final = ("whole", "prompt")
"""What makes examples the same: see `im_jax.data.duplicates.digests`."""


class ExampleView(NamedTuple):
    """One example of a data set: views where it is stored, not copies."""

    id: str
    tokens: jt.Int32[np.ndarray, " T"]
    classes: jt.UInt8[np.ndarray, " T"]
    weights: jt.Float32[np.ndarray, " T"]


@runtime_checkable
class Dataset(Protocol):
    """Encoded examples by number: stored, or made when they are read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ExampleView: ...

    @property
    def lengths(self) -> jt.Int32[np.ndarray, " E"]:
        """Tokens of each example."""

    def targets(self, numbers: jt.Int[np.ndarray, " N"]) -> jt.UInt[np.ndarray, "N C"]:
        """Of each of these examples, tokens that a policy may train, by class.

        All but the first token, which nothing predicts, and those of messages whose weight is 0.
        `targets @ class_weights` is what an example weighs under a policy, its messages' weights aside.
        """

    def fingerprint(self) -> str:
        """Equal for equal examples in equal order, whatever they are called."""


@dataclass(frozen=True, eq=False)
class EncodedDataset:
    """E examples in S tokens: 5 bytes a token, and 4 more where messages have weights; 88 an example.

    `take` and `im_jax.data.stored` share the flat arrays, and never copy them:

        tokens   a b c d e f g h i      starts 0 4 7    lengths 4 3 2    is (a b c d) (e f g) (h i)
                                        starts 0 7      lengths 4 2      is (a b c d) (h i)
    """

    ids: Ids
    starts: jt.Int64[np.ndarray, " E"]
    """First token of each example."""
    lengths: jt.Int32[np.ndarray, " E"]
    tokens: jt.Int32[np.ndarray, " S"]
    classes: jt.UInt8[np.ndarray, " S"]
    histograms: jt.UInt[np.ndarray, "E C"]
    """See `Dataset.targets`; no larger a type than the longest example needs."""
    weights: jt.Float32[np.ndarray, " W"]
    """Message weights by token of the examples that have any other than 1, end to end."""
    weight_starts: jt.Int64[np.ndarray, " E"]
    """First of an example's `weights`; -1 where all are 1."""
    instruction_words: jt.Int32[np.ndarray, " E"]
    output_words: jt.Int32[np.ndarray, " E"]
    turns: jt.Int32[np.ndarray, " E"]
    full_length: jt.Int32[np.ndarray, " E"]
    """See `MEASURES`."""
    whole: jt.UInt64[np.ndarray, " E"]
    prompt: jt.UInt64[np.ndarray, " E"]
    """See `DIGESTS`; 0 where it is of no conversation."""

    @classmethod
    def from_examples(cls, examples: Iterable[EncodedExample]) -> "EncodedDataset":
        """Join encoded examples, in order."""
        kept = list(examples)
        builder = DatasetBuilder(max((len(example.tokens) for example in kept), default=0))
        for example in kept:
            builder.add(example)
        return builder.finish()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> ExampleView:
        start, length = int(self.starts[index]), int(self.lengths[index])
        at = slice(start, start + length)
        return ExampleView(self.ids[index], self.tokens[at], self.classes[at], self._weights(index))

    def _weights(self, index: int) -> jt.Float32[np.ndarray, " T"]:
        start, length = int(self.weight_starts[index]), int(self.lengths[index])
        return np.ones(length, np.float32) if start == _UNWEIGHTED else self.weights[start : start + length]

    def targets(self, numbers: jt.Int[np.ndarray, " N"]) -> jt.UInt[np.ndarray, "N C"]:
        """See `Dataset.targets`."""
        return self.histograms[numbers]

    def take(self, numbers: jt.Int[np.ndarray, " N"]) -> "EncodedDataset":
        """Some of the examples, in the order of their numbers; tokens are shared, not copied."""
        return EncodedDataset(
            self.ids.take(numbers),
            self.starts[numbers],
            self.lengths[numbers],
            self.tokens,
            self.classes,
            self.histograms[numbers],
            self.weights,
            self.weight_starts[numbers],
            *(getattr(self, name)[numbers] for name in (*MEASURES, *DIGESTS)),
        )

    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`."""
        digest = hashlib.sha256()
        digest.update(np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)]).astype(np.int64).data)
        for flat in (self.tokens, self.classes):
            for run in self.runs():
                digest.update(np.ascontiguousarray(flat[run]).data)
        for weights in self._all_weights():
            digest.update(np.ascontiguousarray(weights).data)
        return digest.hexdigest()

    def runs(self) -> Iterator[slice]:
        """Where the examples lie in the flat arrays, in order; neighbours that touch are one slice."""
        ends = self.starts + self.lengths
        cuts = np.flatnonzero(self.starts[1:] != ends[:-1]) + 1
        for first, after in zip([0, *cuts], [*cuts, len(self)], strict=True):
            if first < after:
                yield slice(int(self.starts[first]), int(ends[after - 1]))

    def _all_weights(self) -> Iterator[jt.Float32[np.ndarray, " _"]]:
        """The weight of every token in order, in blocks."""
        weighted = np.flatnonzero(self.weight_starts != _UNWEIGHTED)
        before = 0
        for index in [*weighted.tolist(), len(self)]:
            ones = int(self.lengths[before:index].sum(dtype=np.int64))
            for start in range(0, ones, _BLOCK):
                yield np.ones(min(_BLOCK, ones - start), np.float32)
            if index < len(self):
                yield self._weights(index)
            before = index + 1


class DatasetBuilder:
    """Joins encoded examples as they come, into arrays that grow in place.

    They end up no more than a sixteenth too large, and no example is kept beside them.
    """

    def __init__(self, max_length: int) -> None:
        """`max_length`: most tokens that an example has."""
        self._ids = IdsBuilder()
        self._starts, self._lengths, self._weight_starts = (array.array(code) for code in "qiq")
        self._tokens, self._classes, self._weights = (array.array(code) for code in "iBf")
        self._count_type = next(t for t in (np.uint8, np.uint16, np.uint32) if max_length <= np.iinfo(t).max)
        self._histograms = array.array(np.dtype(self._count_type).char)
        self._measures = {name: array.array("i") for name in MEASURES}
        self._digests = {name: array.array("Q") for name in DIGESTS}

    def add(self, example: EncodedExample, measured: Mapping[str, int] | None = None) -> None:
        """Append an example with its `MEASURES` and `DIGESTS`; without them all but its length are 0."""
        measured = {"full_length": example.full_length} if measured is None else measured
        for name, column in (self._measures | self._digests).items():
            column.append(measured.get(name, 0))
        weighted = bool((example.weights != 1).any())
        self._ids.add(example.id)
        self._starts.append(len(self._tokens))
        self._lengths.append(len(example.tokens))
        self._weight_starts.append(len(self._weights) if weighted else _UNWEIGHTED)
        self._tokens.frombytes(example.tokens.astype(np.int32).tobytes())
        self._classes.frombytes(example.classes.tobytes())
        if weighted:
            self._weights.frombytes(example.weights.astype(np.float32).tobytes())
        trainable = example.classes[1:][example.weights[1:] > 0]
        counts = np.bincount(trainable, minlength=NUM_CLASSES)
        self._histograms.frombytes(counts.astype(self._count_type).tobytes())

    def finish(self) -> EncodedDataset:
        """All of them; nothing can be added after."""
        return EncodedDataset(
            self._ids.finish(),
            np.frombuffer(self._starts, np.int64),
            np.frombuffer(self._lengths, np.int32),
            np.frombuffer(self._tokens, np.int32),
            np.frombuffer(self._classes, np.uint8),
            np.frombuffer(self._histograms, self._count_type).reshape(-1, NUM_CLASSES),
            np.frombuffer(self._weights, np.float32),
            np.frombuffer(self._weight_starts, np.int64),
            *(np.frombuffer(column, np.int32) for column in self._measures.values()),
            *(np.frombuffer(column, np.uint64) for column in self._digests.values()),
        )
