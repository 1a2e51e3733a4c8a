"""Which examples share a row, and the rows themselves.

The plan is made from lengths alone, once, before training: every process makes the same one, rows are
random-access, and the position in the data is a single number.
"""

import bisect
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch
from im_jax.data.dataset import EncodedDataset

Plan = Sequence[Sequence[int]]
"""For each row, the indices of its examples, in order."""


def best_fit_plan(lengths: jt.Int[np.ndarray, " E"], capacity: int, seed: int) -> list[list[int]]:
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
    rows: list[list[int]] = []
    rows_by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # sorted keys of rows_by_room
    for example in order.tolist():
        length = int(lengths[example])
        if not 1 <= length <= capacity:
            raise ValueError(f"example {example} has {length} tokens; a row holds 1 to {capacity}")
        at = bisect.bisect_left(rooms, length)
        if at == len(rooms):
            row, room = len(rows), capacity
            rows.append([])
        else:
            room = rooms[at]
            row = rows_by_room[room].pop()
            if not rows_by_room[room]:
                del rows_by_room[room], rooms[at]
        rows[row].append(example)
        left = room - length
        if left:
            if left not in rows_by_room:
                rows_by_room[left] = []
                bisect.insort(rooms, left)
            rows_by_room[left].append(row)
    return rows


def padded_plan(num_examples: int) -> list[list[int]]:
    """One example a row."""
    return [[i] for i in range(num_examples)]


@runtime_checkable
class RowSource(Protocol):
    """Rows by number: the same number, the same row, in any order and any process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch:
        """A row, each field `[L]`."""

    def batch(self, numbers: jt.Int[np.ndarray, " B"]) -> Batch:
        """Several rows, each field `[B, L]`."""


class Rows:
    """Random access to the rows of a plan.

    Input: an encoded data set, a plan, the length of a row.
    Output: `rows[i]` is a `Batch` of `[L]` arrays.
    """

    def __init__(self, dataset: EncodedDataset, plan: Plan, length: int) -> None:
        self._dataset, self._plan, self._length = dataset, plan, length

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> Batch:
        row = self.empty(self._length)
        end = 0
        for segment, example in enumerate(self._plan[index], start=1):
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
