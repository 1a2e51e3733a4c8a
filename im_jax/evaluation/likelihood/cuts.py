"""Where the trie of texts is cut: a prefix of many rows is computed once, the rest lies in rows as trees.

Costs are counted in tokens, each with its part of attention.
"""

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from im_jax.evaluation.likelihood.texts import Texts

CHUNK: Final = 256
"""Tokens by which a prefix grows at a time."""


def room_for(length: int) -> int:
    """Keys that are attended to behind a prefix: a power of two that holds it, a chunk at least."""
    return 1 << (max(length, CHUNK) - 1).bit_length() if length else 0


class Piece(NamedTuple):
    """A part of the trie that lies in one row: texts `low` to `high`, below the prefix of its group."""

    low: int
    high: int
    size: int
    """Tokens, or labels where there are more: a row has as much room for either."""


@dataclass(eq=False)
class Group:
    """What is computed behind one prefix."""

    text: int
    """A text that begins with the prefix."""
    depth: int
    """Tokens of the prefix."""
    pieces: list[Piece] = field(default_factory=list)


@dataclass(frozen=True)
class Costs:
    """What decides where to cut."""

    row: int
    """Tokens of a row that is long enough to be worth while."""
    group: int
    """Tokens that another prefix costs beside its own: its last batch is not full."""
    keys: float
    """Keys that cost a token as much to attend to as all of its products with weights do."""

    def of(self, tokens: int, keys: int) -> float:
        """Of tokens that attend to so many keys."""
        return tokens * (1 + keys / self.keys)


def groups(texts: Texts, costs: Costs) -> list[Group]:
    """Every text in a piece of one of the groups; a group comes after those whose prefix begins its own.

    From the root down, a part of the trie either is a piece, or what all of it shares becomes a prefix, or
    its branches get copies of that. The prefix ends before the first token whose state is read.
    """
    root = Group(0, 0)
    found = [root]
    waiting = [(root, 0, len(texts.tokens))] if texts.tokens else []
    while waiting:
        group, low, high = waiting.pop()
        size = texts.size(low, high, group.depth)
        if size <= costs.row or high == low + 1:
            group.pieces.append(_piece(texts, group, low, high))
            continue
        part = _Part.of(texts, group, low, high)
        whole, cut, copied = part.costs(costs)
        if whole <= min(cut, copied):
            group.pieces.append(_piece(texts, group, low, high))
        elif cut < copied:
            inner = Group(low, part.cut)
            found.append(inner)
            waiting.append((inner, low, high))
        else:
            _branch(texts, group, part, costs.row, waiting)
    return sorted((group for group in found if group.pieces), key=lambda group: (group.text, group.depth))


@dataclass(frozen=True, eq=False)
class _Part:
    """Texts `low` to `high`, which fork after `fork` tokens."""

    depth: int
    fork: int
    cut: int
    """Where a prefix of all of them can end."""
    starts: list[int]
    """First text of each branch, and the end of the last."""
    size: int
    longest: int

    @classmethod
    def of(cls, texts: Texts, group: Group, low: int, high: int) -> "_Part":
        shared = texts.shared[low + 1 : high]
        fork = int(shared.min())
        return cls(
            depth=group.depth,
            fork=fork,
            cut=min(fork, int(texts.earliest[low:high].min())),
            starts=[low, *(low + 1 + np.flatnonzero(shared == fork)).tolist(), high],
            size=texts.size(low, high, group.depth),
            longest=max(len(texts.tokens[number]) for number in range(low, high)) - group.depth,
        )

    def costs(self, costs: Costs) -> tuple[float, float, float]:
        """As one piece, behind a prefix of their own, and with copies of what they share."""
        trunk, own = self.fork - self.depth, self.cut - self.depth
        branches = self.size - trunk
        each = branches / (len(self.starts) - 1)
        row = max(costs.row, trunk + math.ceil(each))
        copies = min(math.ceil(branches / (row - trunk)), len(self.starts) - 1)
        before, behind = room_for(self.depth), room_for(self.cut)
        whole = costs.of(self.size, before + self.size) if self.size <= 2 * self.longest else math.inf
        cut = costs.of(own, behind) + costs.group
        cut += costs.of(self.size - own, behind + min(costs.row, self.size - own))
        copied = costs.of(copies * trunk + branches, before + row)
        return whole, cut if own else math.inf, copied


def _piece(texts: Texts, group: Group, low: int, high: int) -> Piece:
    return Piece(low, high, max(texts.size(low, high, group.depth), texts.num_labels(low, high)))


def _branch(texts: Texts, group: Group, part: _Part, row: int, waiting: list[tuple[Group, int, int]]) -> None:
    """Neighbouring branches together, as far as they fit a row with what they share; the others later."""
    start = end = part.starts[0]
    trunk, room = part.fork - part.depth, 0
    for low, high in zip(part.starts, part.starts[1:], strict=False):
        size = texts.size(low, high, part.fork)
        if start == end or not trunk or size > room:
            if start != end:
                waiting.append((group, start, end))
            start, room = low, row - trunk
        room -= size
        end = high
    waiting.append((group, start, end))
