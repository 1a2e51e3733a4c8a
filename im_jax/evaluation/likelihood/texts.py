"""What is asked, as texts: each only once, sorted, with what each shares with the one before.

The text of a pair is its context and its continuation but for the last token, which nothing reads. Sorted by
their tokens, texts that begin alike are neighbours: the lengths that neighbours share are the whole trie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np

from im_jax.errors import DataError

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a context and of its continuation."""


@dataclass(frozen=True)
class Asked:
    """A continuation whose tokens the end of a text predicts."""

    first: int
    """Place in the text of the token that predicts the first of them."""
    labels: jt.Int32[np.ndarray, " M"]


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts, of which none is another, though it may be the beginning of it.

    With contexts `a b` and continuations `c d`, `c e` and `f`, the texts are `a b` (asked for f) and `a b c`
    (asked for `c d` and `c e`), and `shared` is `0 2`.
    """

    tokens: list[jt.Int32[np.ndarray, " _"]]
    shared: jt.Int64[np.ndarray, " N"]
    """Tokens at the beginning that the text before has too; 0 for the first."""
    earliest: jt.Int64[np.ndarray, " N"]
    """Place of the first token whose state is read."""
    labels: jt.Int64[np.ndarray, " N"]
    """Number of labels that are asked of each."""
    asked: list[list[Asked]]
    """Of each text."""
    answers: list[tuple[int, int]]
    """Of each pair, in order of asking: its text, and its place in `asked` there."""

    def size(self, low: int, high: int, depth: int) -> int:
        """Tokens of the trie of texts `low` to `high` below `depth`."""
        return int(len(self.tokens[low]) - depth + self._new[high] - self._new[low + 1])

    def num_labels(self, low: int, high: int) -> int:
        """Labels that are asked of texts `low` to `high`."""
        return int(self._labels[high] - self._labels[low])

    def __post_init__(self) -> None:
        new = [0, *(len(text) - shared for text, shared in zip(self.tokens, self.shared, strict=True))]
        object.__setattr__(self, "_new", np.cumsum(new, dtype=np.int64))
        object.__setattr__(self, "_labels", np.concatenate([[0], np.cumsum(self.labels)]))

    _new: jt.Int64[np.ndarray, " N_plus_1"] = None  # type: ignore[assignment]
    _labels: jt.Int64[np.ndarray, " N_plus_1"] = None  # type: ignore[assignment]


def texts_of(pairs: Sequence[Pair], *, max_positions: int, vocab_size: int) -> Texts:
    """The texts of some pairs.

    Raises:
        DataError: a pair has no context, no continuation, a token that the model does not know, or more
            tokens than it has positions. Nothing is cut.
    """
    found: dict[bytes, dict[tuple[int, int], tuple[int, Asked]]] = {}
    places: list[tuple[bytes, int]] = []
    for number, (context, continuation) in enumerate(pairs):
        whole = _checked(number, context, continuation, max_positions, vocab_size)
        # Big-endian, so that bytes sort as tokens do.
        text = whole[:-1].astype(">u4").tobytes()
        of_text = found.setdefault(text, {})
        first = len(context) - 1
        asked = Asked(first, whole[first + 1 :])
        place, _ = of_text.setdefault((first, int(whole[-1])), (len(of_text), asked))
        places.append((text, place))
    order = sorted(found)
    number_of = {text: number for number, text in enumerate(order)}
    tokens = [np.frombuffer(text, ">u4").astype(np.int32) for text in order]
    asked_of = [[asked for _, asked in found[text].values()] for text in order]
    return Texts(
        tokens=tokens,
        shared=np.array([0, *map(_shared, tokens, tokens[1:])][: len(tokens)], np.int64),
        earliest=np.array([min(asked.first for asked in each) for each in asked_of], np.int64),
        labels=np.array([sum(len(asked.labels) for asked in each) for each in asked_of], np.int64),
        asked=asked_of,
        answers=[(number_of[text], place) for text, place in places],
    )


def _checked(
    number: int, context: Sequence[int], continuation: Sequence[int], max_positions: int, vocab_size: int
) -> jt.Int32[np.ndarray, " _"]:
    """All tokens of a pair."""
    if not len(context) or not len(continuation):
        missing = "context; begin it with the BOS" if not len(context) else "continuation; leave it out"
        raise DataError(f"pair {number} has no {missing}")
    whole = np.concatenate([np.asarray(context, np.int64), np.asarray(continuation, np.int64)])
    if len(whole) - 1 > max_positions:
        room = max_positions + 1 - len(continuation)
        cut = f"cut the context to {room}" if room > 0 else "cut that, or score it by windows (`rolling`)"
        raise DataError(
            f"pair {number} has {len(context)} tokens of context and {len(continuation)} of continuation; "
            f"the model reads {max_positions} (model.max_positions), and need not read the last; {cut}"
        )
    if whole.min() < 0 or whole.max() >= vocab_size:
        wrong = int(whole[(whole < 0) | (whole >= vocab_size)][0])
        raise DataError(
            f"pair {number} has token {wrong}; the model knows 0 to {vocab_size - 1}, so encode it with the "
            "model's own tokenizer"
        )
    return whole.astype(np.int32)


def _shared(a: jt.Int32[np.ndarray, " A"], b: jt.Int32[np.ndarray, " B"]) -> int:
    """Tokens at the beginning that are the same."""
    size = min(len(a), len(b))
    other = np.flatnonzero(a[:size] != b[:size])
    return int(other[0]) if len(other) else size
