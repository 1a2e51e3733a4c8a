"""Short names for the values of arrays, the same on every mesh.

They tell whether weights are those that a run was trained beside, and whether a checkpoint is what was saved.
"""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp

_ODD = 2654435761
"""Of 32 bits; sets apart the places of an array."""

Fingerprint = list[Any]
"""Of an array: its shape, its type, and the sum of its values."""


def digest(params: Any) -> str:
    """Of every value, its place, the shapes, types and names. One pass, where the arrays live.

    Values are summed as integers that wrap around, in which any order gives the same: not for safety from
    someone who means harm, but from other weights under the same path.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    told = [
        [jax.tree_util.keystr(path), *found]
        for (path, _), found in zip(leaves, _fingerprints([leaf for _, leaf in leaves]), strict=True)
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def fingerprints(tree: Any) -> dict[str, Fingerprint]:
    """Of each leaf by its path, such as `params.layers.mlp.up`; a bit that changes always changes it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return dict(zip(names, _fingerprints([leaf for _, leaf in leaves]), strict=True))


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
