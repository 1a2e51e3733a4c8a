"""What of this machine each worker of a sweep may use: its own cores, and an accelerator if it is alone."""

import os
from typing import Final

from im_jax import hardware
from im_jax.errors import ConfigError
from im_jax.sweeps import process

Cores = tuple[int, ...] | None
"""Numbers of cores; None: all that this process may use."""

EVERYTHING: Final[Cores] = None


def shares(workers: int) -> list[Cores]:
    """The cores of each worker, as many for one as for the other, so that all compute alike.

    Cores that cannot be divided are left unused. Where the system cannot confine a process (not Linux), all
    use all.

    Raises:
        ConfigError: there are no workers, or more than cores.
    """
    there = hardware.cores() or 1
    if workers < 1:
        raise ConfigError(f"--workers={workers}: give 1 or more")
    if workers > there:
        raise ConfigError(
            f"--workers={workers}: each worker needs a core of its own, and this machine has {there}"
        )
    if workers == 1 or not hasattr(os, "sched_getaffinity"):
        return [EVERYTHING] * workers
    cores, size = sorted(os.sched_getaffinity(0)), there // workers
    return [tuple(cores[at * size : (at + 1) * size]) for at in range(workers)]


def check_no_accelerator(workers: int) -> None:
    """Stop at several workers where runs would be on an accelerator: each would take all of its memory.

    Raises:
        ConfigError: JAX would use one, or does not start.
    """
    if workers > 1 and (platform := process.platform()) != "cpu":
        raise ConfigError(
            f"--workers={workers}: runs would be on a {platform}, whose memory one process takes for itself; "
            "leave --workers out, or set JAX_PLATFORMS=cpu in the environment to run on cores"
        )
