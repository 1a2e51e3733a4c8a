"""Near-duplicate prompts: those that share most of their pieces of five characters.

Candidates come of MinHash signatures (Broder 1997), by the package `datasketch`, cut into bands: prompts that
are equal in a band are compared (Leskovec et al., Mining of Massive Datasets, chapter 3), exactly, so that
what is called a near duplicate is one; that a few are missed near the threshold is possible. Bands are found
by sorting, in a few hundred bytes a prompt, where the package's own index takes some thousand.
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
_BANDS: Final = 21
_ROWS: Final = 6
"""Values of a band. Of pairs that share 0.8 of their pieces, 1 - (1 - 0.8^6)^21 = 99.8 % are compared."""
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
    pieces = functools.lru_cache(_CACHED)(lambda number: pieces_of(text_of(number)))
    buckets = _buckets(count, pieces, advance)
    members: dict[tuple[int, int], list[int]] = {}
    like = np.full(count, -1, np.int64)
    for number in np.flatnonzero((buckets >= 0).any(axis=1)).tolist():
        mine = [(band, bucket) for band, bucket in enumerate(buckets[number].tolist()) if bucket >= 0]
        if number >= always:
            others = sorted({other for key in mine for other in members.get(key, ())})
            near = (n for n in others if jaccard(pieces(n), pieces(number)) >= threshold)
            like[number] = next(near, -1)
        if like[number] < 0:
            for key in mine:
                members.setdefault(key, []).append(number)
    return like


def _buckets(
    count: int,
    pieces: Callable[[int], jt.UInt64[np.ndarray, " P"]],
    advance: Callable[[int], None],
) -> jt.Int32[np.ndarray, "E B"]:
    """Of each text and band, a number that it shares with the texts that are equal there; -1: with none."""
    from datasketch import MinHash  # only where it is asked for

    empty: Any = MinHash(num_perm=_BANDS * _ROWS, hashfunc=_itself)
    bands = np.zeros((count, _BANDS), np.uint64)
    for number in range(count):
        signature = empty.copy()
        signature.update_batch((pieces(number) & np.uint64(0xFFFFFFFF)).tolist())
        bands[number] = _hashed(signature.digest().reshape(_BANDS, _ROWS).astype(np.uint64))
        advance(1)
    buckets = np.full(bands.shape, -1, np.int32)
    for band in range(_BANDS):
        _, inverse, counts = np.unique(bands[:, band], return_inverse=True, return_counts=True)
        shared = counts[inverse] > 1
        buckets[shared, band] = inverse[shared]
    return buckets


def _hashed(rows: jt.UInt64[np.ndarray, "N K"]) -> jt.UInt64[np.ndarray, " N"]:
    """A hash of each row."""
    hashes = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        hashes = (hashes ^ rows[:, column]) * _BASE
        hashes ^= hashes >> np.uint64(29)
    return hashes


def pieces_of(text: str) -> jt.UInt64[np.ndarray, " P"]:
    """Hashes of the different pieces of a normalised text, sorted; a short one is a single piece."""
    codes = np.frombuffer(normalised(text).encode("utf-32-le", errors="surrogatepass"), np.uint32)
    if not len(codes):
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, min(PIECE, len(codes)))
    return np.unique(_hashed(windows.astype(np.uint64)))


def jaccard(a: jt.UInt64[np.ndarray, " P"], b: jt.UInt64[np.ndarray, " Q"]) -> float:
    """Share of the pieces of either that both have; 1 where neither has any."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / either if (either := len(a) + len(b) - both) else 1.0


def _itself(value: int) -> int:
    return value
