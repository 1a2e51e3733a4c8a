"""Batches in a fixed order: the batch of a step is a function of (seed, step) alone.

The row numbers of a step are shuffled and cut first, and rows are built after, so each process builds
only the rows that its devices need and all processes agree without talking to each other. The state of
the iterator is one number, which Grain saves and restores.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import grain
import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch
from im_jax.data.packing import Rows, RowSource, stack

_PASSES: Final = 2**31
"""As good as endless; Grain's own endless repetition overflows its length at a batch size of 1."""


class NumberedBatch(NamedTuple):
    """Rows of a step, and which they are."""

    numbers: jt.Int[np.ndarray, " B"]
    """Of the rows, in the training set."""
    batch: Batch


def train_iterator(
    rows: RowSource, *, seed: int, batch_size: int, local: range, workers: int
) -> "grain.DatasetIterator[Batch]":
    """An endless iterator of training batches, reshuffled each pass over the rows.

    Args:
        rows: all rows of the training set.
        seed: decides the order.
        batch_size: rows in a step, over all processes.
        local: which of the step's rows, counted from 0 to `batch_size`, this process needs.
        workers: threads that build batches ahead.

    Returns:
        A Grain iterator with `get_state()` and `set_state()`; each element holds `[len(local), L]`.
    """
    numbered = _numbered(rows, seed, batch_size, local)
    return _read_ahead(numbered.map(lambda element: element.batch), workers)


def numbered_iterator(
    rows: RowSource, *, seed: int, batch_size: int, local: range, workers: int
) -> "grain.DatasetIterator[NumberedBatch]":
    """`train_iterator`, whose state it shares, with the numbers that each batch was built of."""
    return _read_ahead(_numbered(rows, seed, batch_size, local), workers)


def rows_of_step(rows: RowSource, *, seed: int, batch_size: int, step: int) -> jt.Int[np.ndarray, " B"]:
    """The numbers of the rows in the batch of a step, counted from 1, on all processes."""
    return np.asarray(_numbers(rows, seed, batch_size)[step - 1])


def _numbers(rows: RowSource, seed: int, batch_size: int) -> "grain.MapDataset[np.ndarray]":
    return grain.MapDataset.range(len(rows)).shuffle(seed=seed).repeat(_PASSES).batch(batch_size)


def _numbered(rows: RowSource, seed: int, batch_size: int, local: range) -> "grain.MapDataset[NumberedBatch]":
    def build(numbers: jt.Int[np.ndarray, " B"]) -> NumberedBatch:
        mine = numbers[local.start : local.stop : local.step]
        return NumberedBatch(mine, rows.batch(mine))

    return _numbers(rows, seed, batch_size).map(build)


def _read_ahead(steps: "grain.MapDataset[Any]", workers: int) -> "grain.DatasetIterator[Any]":
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=max(2 * workers, 1))
    return iter(steps.to_iter_dataset(options))


def eval_batches(
    rows: RowSource, *, length: int, batch_size: int, local: range, within: range | None = None
) -> Iterator[Batch]:
    """All rows once, or those within a range, in order; the last batch is filled up with padding rows."""
    within = range(len(rows)) if within is None else within
    for start in range(within.start, within.stop, batch_size):
        numbers = (start + i for i in local)
        yield stack([rows[n] if n < within.stop else Rows.empty(length) for n in numbers])
