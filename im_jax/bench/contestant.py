"""What a contestant is to its worker, and what it tells of its results so that they can be checked."""

import importlib
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.bench.case import SEED

NUM_SAMPLES: Final = 256
"""Entries of an array that are reported one by one."""
Values = dict[str, Any]
"""Numbers by name, or lists of them, as JSON holds them."""


class CannotRun(Exception):
    """The contestant cannot run here, although it is installed. The message says why."""


class Contestant(NamedTuple):
    """A program that is ready to be timed."""

    call: Callable[[], float | None]
    """Does the work once; all of it is done when it returns. Returns seconds if it timed itself."""
    values: Callable[[], Values]
    """What the calls so far computed. Not timed."""
    device: str
    """Name of the device it runs on."""
    memory: dict[str, int]
    """What the compiler knows: `temporary` and `output` bytes."""


def repeated(work: Callable[[], None], times: int, wait: Callable[[], None]) -> Callable[[], float]:
    """A call for what is too short to be timed alone: does it several times, and gives the seconds of one."""

    def call() -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        wait()
        return (time.perf_counter() - began) / times

    return call


def load(name: str) -> Any:
    """A library that the linters' environment lacks: imported without its types."""
    return importlib.import_module(name)


def describe(
    name: str,
    array: jt.Float[np.ndarray, "rows columns"],
    rows: jt.Int[np.ndarray, " candidates"] | None = None,
    columns: jt.Int[np.ndarray, " candidates2"] | None = None,
) -> Values:
    """Norm and samples of an array, in float64.

    Args:
        name: what the values are called: `<name>_norm`, `<name>_samples`.
        array: of any float type.
        rows: where to sample, for arrays that are zero elsewhere; anywhere if None.
        columns: the same for columns.
    """
    pieces = np.array_split(array, max(1, array.size // 2**20))  # as float64 it could be large
    squares = sum(float(np.sum(np.square(piece.astype(np.float64)))) for piece in pieces)
    rng = np.random.default_rng(SEED)
    places = tuple(
        rng.choice(np.arange(size) if some is None else some, NUM_SAMPLES)
        for size, some in zip(array.shape, (rows, columns), strict=True)
    )
    return {
        f"{name}_norm": float(np.sqrt(squares)),
        f"{name}_samples": array[places].astype(np.float64).tolist(),
    }


def difference(values: Values, reference: Values) -> dict[str, float]:
    """Relative differences from a reference.

    `<name>_norm` and `<name>_samples` together give `<name>`, the larger difference of the two. A list is
    compared by norms, `|a - b| / |b|`. What only one of them has is left out.
    """
    found: dict[str, float] = {}
    for name in values.keys() & reference.keys():
        ours, theirs = (np.atleast_1d(np.asarray(x[name], np.float64)) for x in (values, reference))
        size = min(ours.size, theirs.size)
        gap, norm = np.linalg.norm(ours[:size] - theirs[:size]), np.linalg.norm(theirs[:size])
        short = name.removesuffix("_norm").removesuffix("_samples")
        found[short] = max(found.get(short, 0.0), float(gap / norm if norm else gap))
    return dict(sorted(found.items()))
