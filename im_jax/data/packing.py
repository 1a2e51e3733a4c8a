"""Which examples share a row, and the rows themselves.

The plan is made from lengths alone, once, before training: every process makes the same one, rows are
random-access, and the position in the data is a single number.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch
from im_jax.data.dataset import Dataset

_CHUNK: Final = 1 << 16
"""Examples whose numbers are held as Python objects at a time."""


@dataclass(frozen=True, eq=False)
class Plan:
    """For each of R rows, the numbers of its examples, in order; 4 bytes an example and 8 a row."""

    examples: jt.Int32[np.ndarray, " E"]
    offsets: jt.Int64[np.ndarray, " R_plus_1"]
    """Row `i` holds `examples[offsets[i]:offsets[i + 1]]`."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> jt.Int32[np.ndarray, " N"]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self.examples[self.offsets[row] : self.offsets[row + 1]]

    def of(self, numbers: jt.Int[np.ndarray, " E"]) -> "Plan":
        """The same rows of a larger data set, in which its examples have these numbers."""
        return Plan(numbers[self.examples].astype(np.int32), self.offsets)

    @classmethod
    def joined(cls, plans: Sequence["Plan"]) -> "Plan":
        """The rows of several plans of one data set, in order."""
        examples = [np.zeros(0, np.int32), *(plan.examples for plan in plans)]
        sizes = [np.zeros(1, np.int64), *(np.diff(plan.offsets) for plan in plans)]
        return cls(np.concatenate(examples), np.cumsum(np.concatenate(sizes), dtype=np.int64))


def best_fit_plan(lengths: jt.Int[np.ndarray, " E"], capacity: int, seed: int) -> Plan:
    """Best-fit decreasing: each example, longest first, goes to the fullest row that still has room.

    Args:
        lengths: tokens of each example, all in [1, capacity].
        capacity: tokens of a row.
        seed: decides which of equally long examples comes first, so that neighbours in a file are
            not packed together.

    Returns:
        Rows that hold every example exactly once, in O(E log capacity).
    """
    shuffled = np.random.default_rng(seed).permutation(len(lengths))
    order = shuffled[np.argsort(-lengths[shuffled], kind="stable")]
    row_of = np.zeros(len(lengths), np.int32)  # of the examples in this order
    rooms = _Rooms(capacity)
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        for place, (example, length) in enumerate(
            zip(chunk.tolist(), lengths[chunk].tolist(), strict=True), start
        ):
            if not 1 <= length <= capacity:
                raise ValueError(f"example {example} has {length} tokens; a row holds 1 to {capacity}")
            row_of[place] = rooms.take(length)
    in_rows = np.argsort(row_of, kind="stable")
    counts = np.bincount(row_of, minlength=rooms.rows)
    return Plan(order[in_rows].astype(np.int32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


class _Rooms:
    """Rows that are not yet full, found by the room that they have left."""

    def __init__(self, capacity: int) -> None:
        self.rows = 0
        self._capacity = capacity
        self._rows_by_room: dict[int, list[int]] = {}
        self._rooms: list[int] = []  # its keys, sorted

    def take(self, length: int) -> int:
        """The row with the least room that is enough, or else a new one; the room is taken."""
        at = bisect.bisect_left(self._rooms, length)
        if at == len(self._rooms):
            row, room = self.rows, self._capacity
            self.rows += 1
        else:
            room = self._rooms[at]
            row = self._rows_by_room[room].pop()
            if not self._rows_by_room[room]:
                del self._rows_by_room[room], self._rooms[at]
        if left := room - length:
            if left not in self._rows_by_room:
                self._rows_by_room[left] = []
                bisect.insort(self._rooms, left)
            self._rows_by_room[left].append(row)
        return row


def padded_plan(num_examples: int) -> Plan:
    """One example a row."""
    return Plan(np.arange(num_examples, dtype=np.int32), np.arange(num_examples + 1, dtype=np.int64))


@runtime_checkable
class RowSource(Protocol):
    """Rows by number: the same number, the same row, in any order and any process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch:
        """A row, each field `[L]`."""

    def batch(self, numbers: jt.Int[np.ndarray, " B"]) -> Batch:
        """Several rows, each field `[B, L]`."""

    def ids(self, index: int) -> list[str]:
        """Names of the examples in a row."""


class Rows:
    """Random access to the rows of a plan.

    Input: an encoded data set, a plan, the length of a row.
    Output: `rows[i]` is a `Batch` of `[L]` arrays.
    """

    def __init__(self, dataset: Dataset, plan: Plan, length: int) -> None:
        self._dataset, self._plan, self._length = dataset, plan, length

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> Batch:
        row = self.empty(self._length)
        end = 0
        for segment, example in enumerate(self._plan[index].tolist(), start=1):
            encoded = self._dataset[example]
            at = slice(end, end + len(encoded.tokens))
            row.tokens[at] = encoded.tokens
            row.classes[at] = encoded.classes
            row.message_weights[at] = encoded.weights
            row.segments[at] = segment
            row.positions[at] = np.arange(len(encoded.tokens))
            end = at.stop
        return row

    def batch(self, numbers: jt.Int[np.ndarray, " B"]) -> Batch:
        """See `RowSource.batch`."""
        return stack([self[int(number)] for number in numbers])

    def ids(self, index: int) -> list[str]:
        """See `RowSource.ids`."""
        return [self._dataset[example].id for example in self._plan[index].tolist()]

    @staticmethod
    def empty(length: int) -> Batch:
        """A row of padding."""
        return Batch(
            tokens=np.zeros(length, np.int32),
            classes=np.zeros(length, np.uint8),
            segments=np.zeros(length, np.int32),
            positions=np.zeros(length, np.int32),
            message_weights=np.ones(length, np.float32),
        )


def stack(rows: list[Batch]) -> Batch:
    """Rows `[L]` as one batch `[B, L]`."""
    return Batch(*(np.stack(field) for field in zip(*rows, strict=True)))
