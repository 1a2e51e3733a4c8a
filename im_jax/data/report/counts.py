"""How often each whole number occurs: from this every figure of a report follows exactly, in any order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import jaxtyping as jt
import numpy as np

_STEPS: Final = (10, 13, 16, 20, 25, 32, 40, 50, 63, 80)
"""Renard's series of ten to a decade: each about a quarter more than the one before."""


@dataclass(frozen=True, eq=False)
class Counts:
    """A multiset of whole numbers.

    3 5 3 3 is `values` 3 5 with `counts` 3 1.
    """

    values: jt.Int64[np.ndarray, " V"]
    """Different ones, ascending."""
    counts: jt.Int64[np.ndarray, " V"]

    @classmethod
    def of(cls, numbers: jt.Int[np.ndarray, " N"]) -> "Counts":
        """Of an array of numbers."""
        values, counts = np.unique(numbers, return_counts=True)
        return cls(values.astype(np.int64), counts.astype(np.int64))

    @classmethod
    def of_counter(cls, counter: Counter[int]) -> "Counts":
        """Of numbers that are counted already."""
        pairs = np.array(sorted(counter.items()), np.int64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1])

    @classmethod
    def joined(cls, parts: Iterable["Counts"]) -> "Counts":
        """Of the numbers of all parts."""
        each = list(parts)
        numbers = np.concatenate([np.zeros(0, np.int64), *(part.values for part in each)])
        values, places = np.unique(numbers, return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, places, np.concatenate([np.zeros(0, np.int64), *(part.counts for part in each)]))
        return cls(values, counts)

    def __len__(self) -> int:
        """How many numbers there are, equal ones too."""
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        """Their sum."""
        return int(self.values @ self.counts)

    @property
    def mean(self) -> float | None:
        """None of no numbers, as all figures here."""
        return self.total / len(self) if len(self) else None

    @property
    def sd(self) -> float | None:
        """Standard deviation of these numbers themselves (divided by n), which is what the paper prints."""
        if self.mean is None:
            return None
        return float(np.sqrt(self.counts @ (self.values - self.mean) ** 2 / len(self)))

    @property
    def median(self) -> float | None:
        """The middle one, or half-way between the two in the middle."""
        if not len(self):
            return None
        middle = self._at([(len(self) - 1) // 2, len(self) // 2])
        return float(middle.mean())

    def percentile(self, percent: int) -> int | None:
        """The smallest number that `percent` per cent of all do not exceed."""
        return int(self._at([max(-(-len(self) * percent // 100), 1) - 1])[0]) if len(self) else None

    @property
    def smallest(self) -> int | None:
        """The least of them."""
        return int(self.values[0]) if len(self.values) else None

    @property
    def largest(self) -> int | None:
        """The greatest of them."""
        return int(self.values[-1]) if len(self.values) else None

    def above(self, limit: int) -> int:
        """How many are greater than a limit."""
        return int(self.counts[self.values > limit].sum())

    def histogram(self, edges: Sequence[int]) -> list[int]:
        """How many are in each bin: from an edge up to, and without, the next."""
        bins = np.searchsorted(edges, self.values, side="right") - 1
        inside = (bins >= 0) & (bins < len(edges) - 1)
        counts = np.zeros(len(edges) - 1, np.int64)
        np.add.at(counts, bins[inside], self.counts[inside])
        return [int(count) for count in counts]

    def _at(self, places: list[int]) -> jt.Int64[np.ndarray, " _"]:
        return self.values[np.searchsorted(np.cumsum(self.counts), places, side="right")]


def edges_for(
    parts: Sequence[Counts], steps: Sequence[int] = _STEPS, split: int | None = None
) -> tuple[int, ...]:
    """Edges of bins that hold all numbers of some multisets, and no more than they need.

    Bins are single numbers up to 10, then grow with them by `steps` to a decade; `split` is an edge too, if
    there are numbers on both sides.
    """
    drawn = [part for part in parts if len(part)]
    low = min((int(part.values[0]) for part in drawn), default=0)
    high = max((int(part.values[-1]) for part in drawn), default=0)
    edges = list(range(11)) if len(steps) > 3 else [0, 1, 2, 5, 10]
    while edges[-1] <= high:
        decade = 10 ** (len(str(edges[-1])) - 1)
        edges.append(
            next((round(step * decade / 10) for step in steps if step * decade > 10 * edges[-1]), 10 * decade)
        )
    first = max(at for at, edge in enumerate(edges) if edge <= max(low, 0))
    last = next(at for at, edge in enumerate(edges) if edge > high)
    wanted = set(edges[first : last + 1])
    if split is not None and low < split <= high:
        wanted.add(split)
    return tuple(sorted(wanted))
