"""Random numbers that are a function of (seed, stream, index): any example at any time, in bulk.

The generator is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"),
used as a hash: number `j` of item `i` needs none of those before it.
"""

from typing import Final

import jaxtyping as jt
import numpy as np

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_32: Final = np.uint64(32)


def draw(
    seed: int, stream: int, items: jt.Int64[np.ndarray, " E"], count: int
) -> jt.UInt32[np.ndarray, "E {count}"]:
    """`count` uniform 32-bit numbers of each item.

    Args:
        seed: of the task.
        stream: which of the seed's independent sequences.
        items: numbers of the items, at least 0; the result's rows depend on nothing else.
        count: numbers for each.
    """
    pairs = (count + 1) // 2
    with np.errstate(over="ignore"):
        key = _mix(np.array([seed, stream], np.int64).view(np.uint64) + _GOLDEN)
        item_keys = _mix(_mix(items.astype(np.uint64) * _GOLDEN + key[0]) ^ key[1])
        steps = np.arange(1, pairs + 1, dtype=np.uint64) * _GOLDEN
        wide = _mix(item_keys[:, None] + steps)
    halves = np.empty((len(items), 2 * pairs), np.uint32)
    halves[:, 0::2] = wide >> _32
    halves[:, 1::2] = wide.astype(np.uint32)
    return halves[:, :count]


def below(numbers: jt.UInt32[np.ndarray, "*shape"], bound: int) -> jt.Int64[np.ndarray, "*shape"]:
    """Uniform whole numbers in [0, bound), of a bias below `bound` / 2^32."""
    return ((numbers.astype(np.uint64) * np.uint64(bound)) >> _32).astype(np.int64)


def _mix(x: jt.UInt64[np.ndarray, "*shape"]) -> jt.UInt64[np.ndarray, "*shape"]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
