"""Arrays that are mapped from files, which may be cut while they are mapped.

Whoever touches a page that its file has no more is killed by SIGBUS, without a word. So the size of a file is
asked before values are read; one that is removed stays as it was for those that have mapped it.
"""

import numpy as np

from im_jax.errors import StorageError


def refuse_cut(*arrays: np.ndarray) -> None:
    """Stop if a file has become smaller than what is mapped of it.

    Args:
        arrays: mapped as a whole, or in memory.

    Raises:
        StorageError: it has, or cannot be reached any more.
    """
    for array in arrays:
        mapped = getattr(array, "_mmap", None)  # NumPy has no other name for it
        if mapped is None:
            continue
        try:
            is_whole = mapped.size() >= len(mapped)  # of the file as it is now, and when it was mapped
        except OSError:
            is_whole = False
        if not is_whole:
            raise StorageError(
                f"{array.filename} was cut while it was read, or its disk is out of reach; the same command "  # type: ignore[attr-defined]
                "encodes the examples again"
            )
