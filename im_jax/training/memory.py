"""Bytes of arrays on a device, and how they are written."""

import math
from typing import Any, Final

import jax

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def bytes_on_a_device(tree: Any) -> int:
    """Bytes of the shard that one device holds of each array, abstract ones too."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def used_on_a_device(device: jax.Device) -> dict[str, int | None]:
    """The most bytes that a device has had in use, and how many it has; None: it does not say."""
    stats = device.memory_stats() or {}
    return {"peak_bytes": stats.get("peak_bytes_in_use"), "limit_bytes": stats.get("bytes_limit")}


def as_bytes(count: float) -> str:
    """A number of bytes for a reader: `1.5 MiB`."""
    unit = min(int(math.log(max(count, 1), 1024)), len(_UNITS) - 1)
    return f"{count / 1024**unit:,.4g} {_UNITS[unit]}"
