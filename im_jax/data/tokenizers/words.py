"""Texts tokenised word by word, each different word once: most words of a data set have been met before."""

import itertools
import re
import threading
from collections.abc import Callable, Sequence
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.data.tokenizers.interface import Encodings, bounds_of

_MOST_WORDS: Final = 400_000
_MOST_TOKENS: Final = 4_000_000
"""About 100 MB: a table that has outgrown it is begun anew."""


class WordEncoder:
    """Encodes texts by the encodings of their words.

    Exact only where no token covers the end of a word and the beginning of the next, and no word is tokenised
    otherwise for what stands around it: whoever makes one chooses `pattern` so (see `words_alone`).
    """

    def __init__(self, encode: Callable[[Sequence[str]], Encodings], pattern: re.Pattern[str]) -> None:
        """
        Args:
            encode: the tokens of words.
            pattern: its matches, end to end, are the words of a text.
        """
        self._encode = encode
        self._split = pattern.findall
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._numbers = _Numbers()
        nothing = np.zeros(0, np.int32)
        self._known = Encodings(nothing, nothing, nothing, np.zeros(1, np.int64))
        self._widths = np.zeros(0, np.int64)

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Tokens of each text."""
        words = [self._split(text) for text in texts]
        word_bounds = bounds_of(map(len, words))
        with self._lock:
            numbers = self._numbered(itertools.chain.from_iterable(words), int(word_bounds[-1]))
            known, widths = self._known, self._widths
        counts = np.diff(known.bounds)[numbers]
        token_bounds = np.concatenate([[0], np.cumsum(counts)])
        at = np.repeat(known.bounds[numbers] - token_bounds[:-1], counts) + np.arange(token_bounds[-1])
        ends = np.concatenate([[0], np.cumsum(widths[numbers])])
        begins = ends[:-1] - np.repeat(ends[word_bounds[:-1]], np.diff(word_bounds))
        shift = np.repeat(begins.astype(np.int32), counts)
        return Encodings(
            known.ids[at], known.starts[at] + shift, known.ends[at] + shift, token_bounds[word_bounds]
        )

    def _numbered(self, words: "itertools.chain[str]", size: int) -> jt.Int64[np.ndarray, " W"]:
        """The number of each word in the table, to which those that are new are added."""
        if len(self._widths) > _MOST_WORDS or len(self._known.ids) > _MOST_TOKENS:
            self._forget()
        try:
            numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, size)
            if new := self._numbers.new:
                self._known = _joined(self._known, self._encode(new))
                self._widths = np.concatenate([self._widths, np.fromiter(map(len, new), np.int64, len(new))])
                self._numbers.new = []
        except BaseException:  # words that have a number, and no tokens
            self._forget()
            raise
        return numbers


class _Numbers(dict[str, int]):
    """Numbers of words, in the order in which they are met."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        self.new.append(word)
        return number


def _joined(before: Encodings, after: Encodings) -> Encodings:
    return Encodings(
        np.concatenate([before.ids, after.ids]),
        np.concatenate([before.starts, after.starts]),
        np.concatenate([before.ends, after.ends]),
        np.concatenate([before.bounds, before.bounds[-1] + after.bounds[1:]]),
    )
