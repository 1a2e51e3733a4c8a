"""Parameters read from files one by one, compared with what was written: a bit that changed never goes on."""

from collections.abc import Callable

import numpy as np

from im_jax.models.files.layout import LayersOnDisk
from im_jax.training.digest import Fingerprint, sum_on_host

_WORDS = 2**32


def verified(
    found: np.ndarray | LayersOnDisk, written: Fingerprint, changed: Callable[[], Exception]
) -> np.ndarray | LayersOnDisk:
    """The same, and an error where it is not what was written.

    Of a parameter whose layers are read when they are asked for, the sum of all is known: reading the last
    of them tells, whatever their order. Who uses some must keep them back until then. A layer that is read
    again is compared with the first time.

    Args:
        found: the parameter, as it is read now.
        written: its fingerprint, as it was saved.
        changed: makes the error.
    """
    shape, dtype, total = written
    if isinstance(found, np.ndarray):
        if [list(found.shape), found.dtype.name, sum_on_host(found)] != [shape, dtype, total]:
            raise changed()
        return found
    sums: dict[int, int] = {}

    def layer(number: int) -> np.ndarray:
        one = found.read(number)
        part = sum_on_host(one, number)
        if [list(one.shape), one.dtype.name, part] != [shape[1:], dtype, sums.setdefault(number, part)]:
            raise changed()
        if len(sums) == shape[0] and sum(sums.values()) % _WORDS != total:
            raise changed()
        return one

    return LayersOnDisk(layer)


def fingerprint_on_host(found: np.ndarray | LayersOnDisk, layers: int) -> Fingerprint:
    """The fingerprint of a parameter, of which no more than a layer is in memory.

    Args:
        found: the parameter.
        layers: how many it has, if they are read when they are asked for.
    """
    if isinstance(found, np.ndarray):
        return [list(found.shape), found.dtype.name, sum_on_host(found)]
    total, shape, dtype = 0, [layers], ""
    for number in range(layers):
        one = found.read(number)
        total += sum_on_host(one, number)
        shape, dtype = [layers, *one.shape], one.dtype.name
    return [shape, dtype, total % _WORDS]
