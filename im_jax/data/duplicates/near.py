"""Near-duplicate prompts: those that share most of their pieces of five characters.

Candidates come of MinHash signatures in a locality-sensitive index (Broder 1997; Leskovec et al., Mining of
Massive Datasets, chapter 3), by the package `datasketch`. Each is then compared exactly, so that what is
called a near duplicate is one; that some are missed is possible, near the threshold.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.data.duplicates.digests import normalised

THRESHOLD: Final = 0.8
"""Share of the pieces of either that both have (Jaccard's index), from which on two are near duplicates."""
PIECE: Final = 5
_PERMUTATIONS: Final = 128
_WEIGHTS: Final = (0.1, 0.9)
"""Of false candidates, which cost a comparison, and of missed ones, which cost a duplicate."""
_CACHED: Final = 1 << 14
_BASE: Final = np.uint64(1099511628211)


def near_duplicates(
    count: int,
    text_of: Callable[[int], str],
    threshold: float = THRESHOLD,
    always: int = 0,
    advance: Callable[[int], None] = lambda done: None,
) -> jt.Int64[np.ndarray, " E"]:
    """Of each of E texts, the first kept one that it is a near duplicate of; -1 where there is none.

    A text is kept if it is no near duplicate of a kept one before it, so every text that is not kept has one
    that is, and like it. The first `always` are kept whatever they are like.

    Args:
        count: E.
        text_of: text by number; asked again for those that are compared.
        threshold: from 0 to 1.
        always: how many are kept without being compared.
        advance: is told of each text that is done.
    """
    from datasketch import MinHash, MinHashLSH  # only where it is asked for

    index: Any = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
    pieces = functools.lru_cache(_CACHED)(lambda number: pieces_of(text_of(number)))
    empty: Any = MinHash(num_perm=_PERMUTATIONS, hashfunc=_itself)
    like = np.full(count, -1, np.int64)
    for number in range(count):
        mine = pieces(number)
        signature = empty.copy()
        signature.update_batch((mine & np.uint64(0xFFFFFFFF)).tolist())
        if number >= always:
            near = (n for n in sorted(index.query(signature)) if jaccard(pieces(n), mine) >= threshold)
            like[number] = next(near, -1)
        if like[number] < 0:
            index.insert(number, signature, check_duplication=False)
        advance(1)
    return like


def pieces_of(text: str) -> jt.UInt64[np.ndarray, " P"]:
    """Hashes of the different pieces of a normalised text, sorted; a short one is a single piece."""
    codes = np.frombuffer(normalised(text).encode("utf-32-le", errors="surrogatepass"), np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(codes, min(PIECE, len(codes))) if len(codes) else codes
    hashes = np.zeros(len(windows), np.uint64)
    for column in range(windows.shape[1] if windows.ndim > 1 else 0):
        hashes = (hashes ^ windows[:, column].astype(np.uint64)) * _BASE
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)


def jaccard(a: jt.UInt64[np.ndarray, " P"], b: jt.UInt64[np.ndarray, " Q"]) -> float:
    """Share of the pieces of either that both have; 1 where neither has any."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / either if (either := len(a) + len(b) - both) else 1.0


def _itself(value: int) -> int:
    return value
