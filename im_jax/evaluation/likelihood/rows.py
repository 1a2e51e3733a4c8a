"""Trees packed into rows of few lengths, and rows into batches of one shape for each length."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.data.packing import best_fit_plan
from im_jax.evaluation.likelihood.cuts import Piece
from im_jax.evaluation.likelihood.trees import LABELS, Laid

_SHORTEST: Final = 64
_PIECES: Final = 4
"""Pieces that a row holds on average, at least, so that little of it stays empty."""
_STEPS: Final = 8
"""Lengths between a power of two and the next."""


class Batch(NamedTuple):
    """What devices are given: rows of trees, and of which states which labels are read.

    Arrays are NumPy on the host and JAX on the devices.
    """

    tokens: jt.Int32[Any, "B L"]
    positions: jt.Int32[Any, "B L"]
    last: jt.Int32[Any, "B L"]
    columns: jt.Int32[Any, "B L"]
    labels: jt.Int32[Any, "B L labels"]
    read: jt.Bool[Any, "B L"]
    """Whether there is anything in `columns` and `labels`."""


class Reading(NamedTuple):
    """Where the labels of a batch are found in what devices give back, and whose they are."""

    rows: jt.Int64[np.ndarray, " m"]
    entries: jt.Int64[np.ndarray, " m"]
    slots: jt.Int64[np.ndarray, " m"]
    labels: jt.Int32[np.ndarray, " m"]
    answers: jt.Int64[np.ndarray, " m"]


def lengths(pieces: Sequence[Piece], longest: int) -> dict[int, list[Piece]]:
    """Pieces by the length of the rows that hold them.

    Most lie, several together, in rows of a power of two of tokens, `longest` at most; each power of two
    above has one length, which its largest piece decides.
    """
    sizes = np.array([piece.size for piece in pieces])
    small = sizes[sizes <= longest]
    usual = (
        min(longest, max(_SHORTEST, _power_of_two(_PIECES * int(np.ceil(small.mean()))))) if len(small) else 0
    )
    by_power: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_power.setdefault(max(usual, _power_of_two(piece.size)), []).append(piece)
    return {
        power if power == usual else _stepped(max(piece.size for piece in some)): some
        for power, some in sorted(by_power.items())
    }


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


def _stepped(size: int) -> int:
    """A length that holds so many, of which there are few."""
    step = max(1, _power_of_two(size) // 2 // _STEPS)
    return -(-size // step) * step


def packed(pieces: Sequence[Piece], length: int) -> list[list[int]]:
    """Numbers of the pieces of each row."""
    plan = best_fit_plan(np.array([piece.size for piece in pieces]), length, seed=0)
    return [plan[row].tolist() for row in range(len(plan))]


def batches(rows: Sequence[list[Laid]], size: int, length: int) -> Iterator[tuple[Batch, Reading]]:
    """Batches of `size` rows of a length; what is missing in the last is padding."""
    for start in range(0, len(rows), size):
        yield _batch(rows[start : start + size], size, length)


def _batch(rows: Sequence[list[Laid]], size: int, length: int) -> tuple[Batch, Reading]:
    shape = size, length
    batch = Batch(
        tokens=np.zeros(shape, np.int32),
        positions=np.zeros(shape, np.int32),
        last=np.tile(np.arange(length, dtype=np.int32), (size, 1)),
        columns=np.zeros(shape, np.int32),
        labels=np.zeros((*shape, LABELS), np.int32),
        read=np.zeros(shape, bool),
    )
    readings = []
    for row, trees in enumerate(rows):
        end = entries = 0
        for tree in trees:
            at, of_entries = slice(end, end + len(tree.tokens)), slice(entries, entries + len(tree.columns))
            batch.tokens[row, at], batch.positions[row, at] = tree.tokens, tree.positions
            batch.last[row, at] = tree.last + end
            batch.columns[row, of_entries] = tree.columns + end
            batch.labels[row, of_entries] = tree.labels
            batch.read[row, of_entries] = True
            labels = tree.labels[tree.entries, tree.slots]
            of_row = np.full(len(labels), row), tree.entries + entries
            readings.append(Reading(*of_row, tree.slots, labels, tree.answers))
            end, entries = at.stop, of_entries.stop
    return batch, Reading(*(np.concatenate(part) for part in zip(*readings, strict=True)))
