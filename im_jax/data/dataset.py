"""Encoded examples in flat arrays, in memory or mapped from files, and read at random."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.data.encoding import EncodedExample
from im_jax.data.ids import Ids
from im_jax.data.mapped import refuse_cut
from im_jax.token_classes import NUM_CLASSES

UNWEIGHTED: Final = -1
"""First weight of an example of which all are 1."""
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


class Flat(NamedTuple):
    """Some examples end to end."""

    tokens: jt.Int32[np.ndarray, " S"]
    classes: jt.UInt8[np.ndarray, " S"]
    bounds: jt.Int64[np.ndarray, " N_plus_1"]
    """Example `i` of them is `tokens[bounds[i]:bounds[i + 1]]`."""


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

    def flat(self, numbers: jt.Int[np.ndarray, " N"]) -> Flat:
        """These examples end to end, for work on many at once."""

    def measured(self, name: str, numbers: jt.Int[np.ndarray, " N"]) -> jt.Integer[np.ndarray, " N"]:
        """One of `MEASURES` or `DIGESTS` of these examples."""

    def fingerprint(self) -> str:
        """Equal for equal examples in equal order, whatever they are called."""


@dataclass(frozen=True, eq=False)
class EncodedDataset:
    """E examples in S tokens: 5 bytes a token, and 4 more where messages have weights; about 110 an
    example.

        tokens   a b c d e f g h i      starts 0 4 7    lengths 4 3 2    is (a b c d) (e f g) (h i)

    Some of them are a `im_jax.data.selected.SelectedDataset`, which copies nothing.
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
    digest: jt.UInt64[np.ndarray, " E"]
    """Of tokens, classes and, unless all are 1, weights: equal for equal examples."""

    @classmethod
    def from_examples(cls, examples: Iterable[EncodedExample]) -> "EncodedDataset":
        """Join encoded examples, in order; of their texts only the length is known."""
        kept = list(examples)
        bounds = np.cumsum([0, *(len(example.tokens) for example in kept)], dtype=np.int64)
        return dataset_of(
            _joined([example.tokens for example in kept], np.int32),
            _joined([example.classes for example in kept], np.uint8),
            _joined([example.weights for example in kept], np.float32),
            bounds,
            Ids.of([example.id for example in kept]),
            {"full_length": np.array([example.full_length for example in kept], np.int32)},
            max_length=int(np.diff(bounds).max(initial=0)),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> ExampleView:
        """Raises StorageError where a file that it is mapped from was cut, as all that reads values does."""
        refuse_cut(self.tokens, self.classes, self.weights, self.lengths, self.ids.numbers, self.ids.prefixes)
        start, length = int(self.starts[index]), int(self.lengths[index])
        at = slice(start, start + length)
        return ExampleView(self.ids[index], self.tokens[at], self.classes[at], self._weights(index))

    def _weights(self, index: int) -> jt.Float32[np.ndarray, " T"]:
        start, length = int(self.weight_starts[index]), int(self.lengths[index])
        return np.ones(length, np.float32) if start == UNWEIGHTED else self.weights[start : start + length]

    def targets(self, numbers: jt.Int[np.ndarray, " N"]) -> jt.UInt[np.ndarray, "N C"]:
        """See `Dataset.targets`."""
        refuse_cut(self.histograms)
        return self.histograms[numbers]

    def flat(self, numbers: jt.Int[np.ndarray, " N"]) -> Flat:
        """See `Dataset.flat`."""
        refuse_cut(self.tokens, self.classes, self.lengths)
        lengths = self.lengths[numbers].astype(np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(self.starts[numbers] - bounds[:-1], lengths) + np.arange(bounds[-1])
        return Flat(self.tokens[at], self.classes[at], bounds)

    def measured(self, name: str, numbers: jt.Int[np.ndarray, " N"]) -> jt.Integer[np.ndarray, " N"]:
        """See `Dataset.measured`."""
        column: np.ndarray = getattr(self, name)
        refuse_cut(column)
        return column[numbers]

    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`: of the digests, so that no token is read."""
        return hashlib.sha256(self.digest.astype("<u8").tobytes()).hexdigest()


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def dataset_of(
    tokens: jt.Int32[np.ndarray, " S"],
    classes: jt.UInt8[np.ndarray, " S"],
    weights: jt.Float32[np.ndarray, " S"],
    bounds: jt.Int64[np.ndarray, " E_plus_1"],
    ids: Ids,
    known: Mapping[str, np.ndarray],
    *,
    max_length: int,
) -> EncodedDataset:
    """The data set of examples that lie end to end.

    Args:
        tokens: of all of them.
        classes: of each token.
        weights: of each token's message.
        bounds: example `i` is `tokens[bounds[i]:bounds[i + 1]]`.
        ids: of the examples.
        known: `MEASURES` and `DIGESTS` of each example; 0 where they are not given.
        max_length: most tokens that an example of the whole set has, should this be a part of one.
    """
    lengths, starts = np.diff(bounds), bounds[:-1]
    example = np.repeat(np.arange(len(lengths)), lengths)
    is_weighted = np.bincount(example[weights != 1], minlength=len(lengths)) > 0
    weight_lengths = np.where(is_weighted, lengths, 0)
    is_target = weights > 0
    is_target[starts[lengths > 0]] = False  # nothing predicts the first
    cells = example[is_target] * NUM_CLASSES + classes[is_target]
    histograms = np.bincount(cells, minlength=len(lengths) * NUM_CLASSES).reshape(-1, NUM_CLASSES)
    columns = dict.fromkeys(MEASURES, np.int32) | dict.fromkeys(DIGESTS, np.uint64)
    return EncodedDataset(
        ids=ids,
        starts=starts,
        lengths=lengths.astype(np.int32),
        tokens=tokens,
        classes=classes,
        histograms=histograms.astype(_count_type(max_length)),
        weights=weights[np.repeat(is_weighted, lengths)],
        weight_starts=np.where(is_weighted, np.cumsum(weight_lengths) - weight_lengths, UNWEIGHTED),
        digest=_digests(tokens, classes, weights, bounds, is_weighted),
        **{name: known.get(name, np.zeros(len(lengths), dtype)) for name, dtype in columns.items()},
    )


def _count_type(max_length: int) -> type[np.unsignedinteger]:
    return next(t for t in (np.uint8, np.uint16, np.uint32) if max_length <= np.iinfo(t).max)


def _digests(
    tokens: jt.Int32[np.ndarray, " S"],
    classes: jt.UInt8[np.ndarray, " S"],
    weights: jt.Float32[np.ndarray, " S"],
    bounds: jt.Int64[np.ndarray, " E_plus_1"],
    is_weighted: jt.Bool[np.ndarray, " E"],
) -> jt.UInt64[np.ndarray, " E"]:
    """See `EncodedDataset.digest`: 64 bits of BLAKE2, the same on every machine."""
    found = bytearray()
    of_tokens, of_classes, of_weights = (
        memoryview(each.astype(each.dtype.newbyteorder("<")).tobytes()) for each in (tokens, classes, weights)
    )
    ends = bounds.tolist()
    for number, weighted in enumerate(is_weighted.tolist()):
        start, end = ends[number], ends[number + 1]
        digest = hashlib.blake2b(of_tokens[4 * start : 4 * end], digest_size=8)
        digest.update(of_classes[start:end])
        if weighted:
            digest.update(of_weights[4 * start : 4 * end])
        found += digest.digest()
    return np.frombuffer(bytes(found), "<u8").astype(np.uint64)
