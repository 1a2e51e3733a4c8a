"""What fits, found by trying: the largest batch, and what to change where the configuration does not fit.

A trial compiles up to where the memory is known. Memory does not grow quite evenly with the rows, so the
batch that is said to be the largest was tried, and the next larger one too.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from im_jax.config import Config, with_overrides
from im_jax.errors import ConfigError
from im_jax.pods.compiling import Compile, Compiled

_MOST_TRIALS: Final = 12
"""Of a search for the largest batch; it ends with what is known then."""
_LARGEST: Final = 64
"""Times the configured batch that is looked at."""


class Change(NamedTuple):
    """Fields that make a configuration fit, or not."""

    fields: dict[str, str | int]
    needed: int
    """Bytes of a device."""
    fits: bool

    def __str__(self) -> str:
        return " ".join(f"--config.{name}={value}" for name, value in self.fields.items())


class Batches(NamedTuple):
    """Rows of an optimiser step."""

    largest: int
    """That fits; 0: not even the smallest does."""
    next: int | None
    """The next one, which does not; None: it was not looked for."""
    next_needed: int | None
    """Bytes of a device that it would need."""


def rows_of(config: Config, compiled: Compiled) -> int:
    """What the rows of a step are a multiple of."""
    mesh = compiled.traced["mesh"]
    return int(mesh["replica"] * mesh["fsdp"] * config.train.accumulate)


def largest_batch(
    config: Config, first: Compiled, compile_step: Compile, say: Callable[[str], None] = lambda _: None
) -> Batches:
    """The largest number of rows that fits with everything else as it is.

    Args:
        config: what was compiled.
        first: what came of it.
        compile_step: compiles another one.
        say: is told of each trial.
    """
    unit = rows_of(config, first)
    known = {config.train.batch_size // unit: first.needed}
    least_that_fails = _LARGEST * max(1, config.train.batch_size // unit) + 1

    def fits(units: int) -> bool:
        if units not in known:
            rows = units * unit
            say(f"trying {rows:,} rows a step")
            changed = with_overrides(config, {"train.batch_size": rows, "eval.batch_size": 0})
            known[units] = compile_step(changed).needed
        return known[units] <= first.available

    low, high = 0, least_that_fails
    for units in known:
        low, high = (units, high) if fits(units) else (low, units)
    for _ in range(_MOST_TRIALS):
        if high - low <= 1:
            break
        units = _guess(known, first.available, low, high)
        low, high = (units, high) if fits(units) else (low, units)
    if high in known:
        return Batches(low * unit, high * unit, known[high])
    return Batches(low * unit, None, None)


def _guess(known: dict[int, int], available: int, low: int, high: int) -> int:
    """Between two numbers: by a line through the two trials that are nearest, else in the middle."""
    nearest = sorted(known, key=lambda units: abs(known[units] - available))[:2]
    if len(nearest) == 2 and known[nearest[0]] != known[nearest[1]]:
        slope = (known[nearest[1]] - known[nearest[0]]) / (nearest[1] - nearest[0])
        if slope > 0:
            # Where the line crosses, and then just above it: what is left between the two ends is one.
            estimate = nearest[0] + (available - known[nearest[0]]) / slope
            guess = math.floor(estimate) + (1 if low == math.floor(estimate) else 0)
            if low < guess < high:
                return guess
    if high not in known and low:
        return min(2 * low, high - 1)
    return (low + high) // 2


def what_fits(
    config: Config, first: Compiled, compile_step: Compile, say: Callable[[str], None] = lambda _: None
) -> list[Change]:
    """Changes that were tried, one kind after the other, up to the first of each that fits.

    Micro-batches and recomputation change no result; `mesh.tensor` neither, and sends more.
    """
    tried: list[Change] = []
    for kind in _changes(config, first):
        for fields in kind:
            changed = with_overrides(copy.deepcopy(config), fields)
            say(f"trying {' '.join(f'{name}={value}' for name, value in fields.items())}")
            try:
                compiled = compile_step(changed)
            except ConfigError:  # sizes that the mesh cannot divide
                continue
            tried.append(Change(dict(fields), compiled.needed, compiled.fits))
            if compiled.fits:
                break
    return tried


def _changes(config: Config, first: Compiled) -> Iterator[list[dict[str, str | int]]]:
    mesh = first.traced["mesh"]
    remat: dict[str, str | int] = {} if config.model.remat == "full" else {"model.remat": "full"}
    if remat:
        yield [remat]
    devices = mesh["replica"] * mesh["fsdp"]
    cuts = [
        cut
        for cut in (2**power for power in range(1, 11))
        if cut > config.train.accumulate and config.train.batch_size % (cut * devices) == 0
    ]
    yield [{**remat, "train.accumulate": cut} for cut in cuts]
    parts = [part for part in (2, 4, 8) if part > config.mesh.tensor and devices % part == 0]
    yield [{**remat, "mesh.tensor": part} for part in parts]
