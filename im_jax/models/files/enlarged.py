"""Tables with a row for each token that get further rows, for tokens that a checkpoint does not know."""

import functools
from typing import Final

import numpy as np

from im_jax.models.files.tensors import Index, Tensor

_ROWS: Final = 1024
"""Read at a time."""


def enlarged(table: Tensor, rows: int) -> Tensor:
    """A table `[V, D]` with more rows, each the mean of those that it has.

    The logit of such a row is the mean of the others', so that it takes little from the probability of known
    tokens; a row of zeros, or of small random numbers, may take nearly all of it (as in transformers,
    `mean_resizing`). The mean adds up in float64 and is rounded to float32.

    Args:
        table: in a file.
        rows: of the new one, no fewer.
    """
    own, width = table.shape

    @functools.cache
    def mean() -> np.ndarray:
        total = np.zeros(width)
        for start in range(0, own, _ROWS):
            some = table.read((slice(start, min(start + _ROWS, own)), slice(0, width)))
            total += some.astype(np.float64).sum(0)
        return (total / own).astype(np.float32)

    def read(index: Index) -> np.ndarray:
        wanted, columns = index
        if wanted.stop <= own:
            return table.read(index)
        new = np.tile(mean()[columns], (wanted.stop - max(wanted.start, own), 1))
        if wanted.start >= own:
            return new
        return np.concatenate([table.read((slice(wanted.start, own), columns)).astype(np.float32), new])

    return table._replace(shape=(rows, width), read=read)
