"""A piece of the trie as a tree in a row: its tokens depth first, and which of their states are read."""

from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.evaluation.likelihood.cuts import Piece
from im_jax.evaluation.likelihood.texts import Texts

LABELS: Final = 4
"""Labels whose log-probabilities are read from the logits of one token; those of more are made again."""


class Laid(NamedTuple):
    """A tree of n tokens whose states are read e times, for m labels."""

    tokens: jt.Int32[np.ndarray, " n"]
    positions: jt.Int32[np.ndarray, " n"]
    last: jt.Int32[np.ndarray, " n"]
    """See `im_jax.models.attention.tree`; columns begin at the tree."""
    columns: jt.Int32[np.ndarray, " e"]
    """Of the tokens whose states are read."""
    labels: jt.Int32[np.ndarray, "e labels"]
    answers: jt.Int64[np.ndarray, " m"]
    """To which continuation each label belongs."""
    entries: jt.Int64[np.ndarray, " m"]
    """Where it is in `labels`: `labels[entries, slots]`."""
    slots: jt.Int64[np.ndarray, " m"]


def lay(texts: Texts, piece: Piece, depth: int, first_answer: jt.Int64[np.ndarray, " N"]) -> Laid:
    """The tree of a piece.

    Args:
        texts: all of them.
        piece: what the tree holds.
        depth: tokens of the prefix that stands before it.
        first_answer: number of the first continuation of each text.
    """
    tokens, positions = [], []
    last = np.zeros(texts.size(piece.low, piece.high, depth), np.int32)
    path = np.zeros(
        max(map(len, texts.tokens[piece.low : piece.high])), np.int32
    )  # columns of the current text
    branches: list[tuple[int, int, int]] = []  # of it, first column and depths, whose ends are not known yet
    asked: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    end = 0
    for number in range(piece.low, piece.high):
        text = texts.tokens[number]
        start = depth if number == piece.low else int(texts.shared[number])
        _close(branches, start, last, end)
        columns = np.arange(end, end + len(text) - start, dtype=np.int32)
        branches.append((end, start, len(text)))
        tokens.append(text[start:])
        positions.append(np.arange(start, len(text), dtype=np.int32))
        path[start : len(text)] = columns
        end += len(columns)
        for place, (first, labels) in enumerate((each.first, each.labels) for each in texts.asked[number]):
            answer = np.full(len(labels), first_answer[number] + place)
            asked.append((path[first : first + len(labels)].copy(), labels, answer))
    _close(branches, depth, last, end)
    read = (np.concatenate(part) for part in zip(*asked, strict=True))
    return Laid(np.concatenate(tokens), np.concatenate(positions), last, *_entries(*read))


def _close(branches: list[tuple[int, int, int]], depth: int, last: np.ndarray, end: int) -> None:
    """From `depth` on, the current text's tokens have no descendants from column `end` on."""
    while branches and branches[-1][2] > depth:
        column, start, stop = branches.pop()
        kept = max(start, depth)
        last[column + kept - start : column + stop - start] = end - 1
        if kept > start:
            branches.append((column, start, kept))


def _entries(
    columns: jt.Int32[np.ndarray, " m"],
    labels: jt.Int32[np.ndarray, " m"],
    answers: jt.Int64[np.ndarray, " m"],
) -> tuple[np.ndarray, ...]:
    """The last five fields of `Laid`: a label that several ask of a token is there once."""
    keys, of_key = np.unique(np.stack([columns, labels], axis=1), axis=0, return_inverse=True)
    begins = np.concatenate([[True], keys[1:, 0] != keys[:-1, 0]])
    places = np.arange(len(keys))
    rank = places - np.maximum.accumulate(np.where(begins, places, 0))
    entry, slot = np.cumsum(rank % LABELS == 0) - 1, rank % LABELS
    by_entry = np.zeros((entry[-1] + 1, LABELS), np.int32)
    by_entry[entry, slot] = keys[:, 1]
    of_key = of_key.reshape(-1)
    return keys[slot == 0, 0].astype(np.int32), by_entry, answers, entry[of_key], slot[of_key]
