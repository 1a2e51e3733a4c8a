"""Short names for the values of arrays, the same on every mesh.

They tell whether weights are those that a run was trained beside, and whether a checkpoint is what was saved.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

_ODD = 2654435761
"""Of 32 bits; sets apart the places of an array."""
_WORDS: Final = 2**32
_AT_ONCE: Final = 2**20
"""Values of an array on the host that are summed together, which bounds the memory that this takes."""

Fingerprint = list[Any]
"""Of an array: its shape, its type, and the sum of its values."""


def digest(params: Any) -> str:
    """Of every value, its place, the shapes, types and names. One pass, where the arrays live.

    Values are summed as integers that wrap around, in which any order gives the same: not for safety from
    someone who means harm, but from other weights under the same path.
    """
    return digest_of(fingerprints(params))


def digest_of(fingerprints: Mapping[str, Fingerprint]) -> str:
    """As `digest`, of the fingerprints of all leaves, in the order of the tree."""
    told = [
        ["".join(f"['{key}']" for key in path.split(".")), *found] for path, found in fingerprints.items()
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def fingerprints(tree: Any) -> dict[str, Fingerprint]:
    """Of each leaf by its path, such as `params.layers.mlp.up`; a bit that changes always changes it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return dict(zip(names, _fingerprints([leaf for _, leaf in leaves]), strict=True))


def sum_on_host(x: np.ndarray, place: int = 0) -> int:
    """The sum in the fingerprint of an array on the host, or what one entry of its first axis adds to it.

    Sums of all entries, modulo 2**32, are that of the whole array. So it can be found layer by layer.

    Args:
        x: values of 1, 2 or 4 bytes.
        place: of an entry: its number along the first axis.
    """
    if x.ndim > 1 and x.size > _AT_ONCE:
        rows = max(1, _AT_ONCE // max(1, x.size // x.shape[0]))
        if rows == 1:
            return sum(sum_on_host(one, (place * _ODD + i) % _WORDS) for i, one in enumerate(x)) % _WORDS
        starts = range(0, x.shape[0], rows)
        return sum(_sum_of_rows(x[i : i + rows], place, i) for i in starts) % _WORDS
    return _sum_of_rows(x, place, 0)


def _sum_of_rows(x: np.ndarray, place: int, first: int) -> int:
    """As `sum_on_host`, of entries from number `first` on."""
    places = np.full((1,) * x.ndim, place, np.uint32)
    for axis, size in enumerate(x.shape):
        numbers = np.arange(size, dtype=np.uint32) + np.uint32(first if axis == 0 else 0)
        places = places * np.uint32(_ODD) + numbers.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    bits = x.view(f"uint{8 * x.dtype.itemsize}").astype(np.uint32)
    return int(np.sum(bits * (2 * places + np.uint32(1)), dtype=np.uint32))


def _fingerprints(arrays: list[jax.Array]) -> list[Fingerprint]:
    sums = jax.device_get(_sums(arrays))
    return [[list(x.shape), x.dtype.name, int(total)] for x, total in zip(arrays, sums, strict=True)]


@jax.jit
def _sums(arrays: list[jax.Array]) -> list[jax.Array]:
    return [_sum(x) for x in arrays]


def _sum(x: jax.Array) -> jax.Array:
    # Times an odd number, no change of a single word is lost in the sum.
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis in range(x.ndim):
        place = place * jnp.uint32(_ODD) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)
