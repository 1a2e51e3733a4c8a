"""What a disturbed run executes: the command `train`, in a process forked from one that has imported it all.

Python and its imports take longer than a tiny run. Nothing here may start JAX before the fork.
"""

import ctypes
import importlib
import os
import resource
from collections.abc import Mapping, Sequence

import im_jax.training.start  # noqa: F401 - imported once for all runs

_train = importlib.import_module("im_jax.train")
"""`im_jax.train` is a function by that name, too."""


def train(
    words: Sequence[str],
    log: str,
    variables: Mapping[str, str],
    settings: Mapping[str, object],
    limit: int | None,
    bound: bool = False,
) -> None:
    """Run the command with its words, both outputs to a file.

    Args:
        words: of the command line.
        log: both outputs are added to it.
        variables: set in the environment.
        settings: of JAX, which has read its variables long ago.
        limit: bytes that a file may have; None: any number.
        bound: whether rights of files hold for it, as they do not for root.
    """
    os.setsid()  # a group of its own, as that of a terminal's command
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if bound and os.geteuid() == 0:
        _drop_rights()
    os.environ.update(variables)
    import jax

    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        _train.run(["train", *words])
    finally:
        # As JAX does where an interpreter ends, which that of a forked process does not: a process of a cluster
        # that is gone without this aborts those that are a moment behind.
        jax.distributed.shutdown()


_VERSION, _OVERRIDE, _SEARCH = 0x20080522, 1, 2
"""Of capget(2): its newest structure, CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


def _drop_rights() -> None:
    """Give up what lets root write where nobody may; it cannot be had back."""
    library = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if library.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for at in range(3):  # effective, permitted, inheritable; the other three are of numbers above 31
        sets[at] &= ~(1 << _OVERRIDE | 1 << _SEARCH) & 0xFFFFFFFF
    if library.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")
