"""Inputs in which a rule's left side stands exactly as often as wanted."""

from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.random_access import below, draw
from im_jax.studies.rewrites.examples.strings import count_and_first

_ATTEMPTS: Final = 1000


def plant(
    patterns: jt.UInt8[np.ndarray, "E X"],
    wanted: jt.Int64[np.ndarray, " E"],
    items: jt.Int64[np.ndarray, " E"],
    *,
    length: int,
    letters: int,
    seed: int,
    stream: int,
) -> tuple[jt.UInt8[np.ndarray, "E {length}"], jt.Int64[np.ndarray, " E"]]:
    """Random strings with `wanted` copies of each pattern at random places, and where the first one stands.

    Copies do not overlap, all ways to place them are equally likely, and the rest is random. A string in
    which the pattern then stands more often, because the rest or a border happens to spell it, is thrown
    away and drawn anew: counts are true, those that overlap included. Item by item the result depends on the
    arguments alone, not on the other items.

    Raises:
        ConfigError: copies do not fit, or no string has so few.
    """
    texts = np.empty((len(items), length), np.uint8)
    first = np.empty(len(items), np.int64)
    apart = _make_more_side_by_side(patterns) & (wanted > 1)
    for copies, keep_apart in sorted(set(zip(wanted.tolist(), apart.tolist(), strict=True))):
        here = np.flatnonzero((wanted == copies) & (apart == keep_apart))
        _check_room(copies, patterns.shape[1], length, keep_apart)
        for attempt in range(_ATTEMPTS):
            drawn = _place(
                patterns[here], copies, keep_apart, items[here], length, letters, seed, stream + attempt
            )
            found, starts = count_and_first(drawn, patterns[here])
            right = found == copies
            texts[here[right]], first[here[right]] = drawn[right], starts[right]
            here = here[~right]
            if not len(here):
                break
        else:
            raise ConfigError(
                f"data.rewrites: no input of {length} letters out of {letters} was found, in {_ATTEMPTS} "
                f"attempts, that holds a left side of {patterns.shape[1]} letters {copies} times and no "
                "oftener; use a larger alphabet, longer left sides or shorter inputs"
            )
    return texts, first


def _make_more_side_by_side(patterns: jt.UInt8[np.ndarray, "E X"]) -> jt.Bool[np.ndarray, " E"]:
    """Whether two copies side by side spell the pattern more than twice, as those of `aa` do.

    No string in which such copies are neighbours has as few as wanted. Where copies are many, hardly any way
    to place them is without neighbours, and nearly all attempts would be in vain.
    """
    found, _ = count_and_first(np.concatenate([patterns, patterns], axis=1), patterns)
    return found > 2


def _check_room(copies: int, width: int, length: int, apart: bool) -> None:
    needed = copies * width + (copies - 1 if apart else 0)
    if needed > length:
        between = ", with a letter between any two where it overlaps itself" if apart else ""
        raise ConfigError(
            f"data.rewrites.input_length={length} has no room for {copies} occurrences of a left side of "
            f"{width} letters{between}; set it to {needed} or more, or lower data.rewrites.occurrences"
        )


def _place(
    patterns: np.ndarray,
    copies: int,
    apart: bool,
    items: np.ndarray,
    length: int,
    letters: int,
    seed: int,
    stream: int,
) -> np.ndarray:
    """One attempt: random letters, with copies of the pattern over some of them."""
    width = patterns.shape[1]
    rest = length - copies * width
    # Side by side, copies and letters of the rest are in any order; apart, one copy at most fits into each
    # gap between letters of the rest, or before or behind them.
    slots = rest + 1 if apart else rest + copies
    numbers = draw(seed, stream, items, length + (slots if copies else 0))
    texts = below(numbers[:, :length], letters).astype(np.uint8)
    if not copies:
        return texts
    # Those slots with the smallest numbers are copies: every choice of slots is equally likely.
    chosen = np.argpartition(numbers[:, length:], copies - 1, axis=1)[:, :copies]
    starts = np.sort(chosen, axis=1) + np.arange(copies) * (width if apart else width - 1)
    row = np.arange(len(items))[:, None]
    for offset in range(width):
        texts[row, starts + offset] = patterns[:, offset, None]
    return texts
