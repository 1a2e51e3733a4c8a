"""Finding and replacing substrings in bulk: row `i` of one array in row `i` of another."""

import jaxtyping as jt
import numpy as np

Letters = jt.UInt8[np.ndarray, "E _"]
_DENSE = 3
"""Letters compared everywhere before only the places that still match are looked at."""


def occurrences(
    texts: jt.UInt8[np.ndarray, "E Z"], patterns: jt.UInt8[np.ndarray, "E X"]
) -> tuple[jt.Int64[np.ndarray, " M"], jt.Int64[np.ndarray, " M"]]:
    """Every place where a row's pattern stands in its text, those that overlap included.

    Returns:
        Row and position of each of the M occurrences, by row and then from left to right.

        texts     patterns     rows      positions
        a b a b a  a b a       0 0       0 2
        a b b b a  a b a
    """
    width = patterns.shape[1]
    places = texts.shape[1] - width + 1
    if places < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    matches = np.ones((len(texts), places), bool)
    for offset in range(min(width, _DENSE)):
        matches &= texts[:, offset : offset + places] == patterns[:, offset, None]
    rows, positions = np.nonzero(matches)
    for offset in range(_DENSE, width):
        match = texts[rows, positions + offset] == patterns[rows, offset]
        rows, positions = rows[match], positions[match]
    return rows.astype(np.int64), positions.astype(np.int64)


def count_and_first(
    texts: jt.UInt8[np.ndarray, "E Z"], patterns: jt.UInt8[np.ndarray, "E X"]
) -> tuple[jt.Int64[np.ndarray, " E"], jt.Int64[np.ndarray, " E"]]:
    """How often each pattern stands in its text, and where first; -1 where it does not."""
    rows, positions = occurrences(texts, patterns)
    first = np.full(len(texts), -1, np.int64)
    first[rows[::-1]] = positions[::-1]  # the last that is written is the leftmost
    return np.bincount(rows, minlength=len(texts)), first


def replace_at(
    texts: jt.UInt8[np.ndarray, "E Z"],
    starts: jt.Int64[np.ndarray, " E"],
    width: int,
    by: jt.UInt8[np.ndarray, "E Y"],
) -> tuple[jt.UInt8[np.ndarray, "E A"], jt.Int64[np.ndarray, " E"]]:
    """Put `by` in the place of the `width` letters from `starts` on; a start of -1 keeps the text.

    Returns:
        The results, filled up with 0 to A, the longest that is possible, and their lengths.
    """
    length, new = texts.shape[1], by.shape[1]
    kept = starts < 0
    longest = max(length, length - width + new)
    starts = np.where(kept, length, starts)[:, None]
    column = np.arange(longest)
    from_end = np.clip(column - new + width, 0, max(length - 1, 0))
    result = np.where(column < starts, texts[:, np.minimum(column, length - 1)], texts[:, from_end])
    if new:
        inside = (column >= starts) & (column < starts + new)
        replacement = np.take_along_axis(by, np.clip(column - starts, 0, new - 1), axis=1)
        result = np.where(inside, replacement, result)
    lengths = np.where(kept, length, length - width + new)
    return np.where(column < lengths[:, None], result, 0).astype(np.uint8), lengths
