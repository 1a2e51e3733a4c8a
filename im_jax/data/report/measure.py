"""What is measured of the examples of a data set, of all or of a source, in pieces of bounded size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.data.dataset import MEASURES, Dataset
from im_jax.data.report.counts import Counts
from im_jax.token_classes import (
    INSTRUCTION_CLASSES,
    MAIN_CLASS_TABLE,
    NUM_CLASSES,
    OUTPUT_CLASSES,
    TokenClass,
)

_TOKENS: Final = 1 << 21
_EXAMPLES: Final = 1 << 16
"""Most of a piece."""
_INSTRUCTION: Final = np.isin(MAIN_CLASS_TABLE, INSTRUCTION_CLASSES)
_OUTPUT: Final = np.isin(np.arange(NUM_CLASSES), OUTPUT_CLASSES)


@dataclass(frozen=True)
class Measured:
    """Figures of some examples. Words, turns and whole lengths are those before truncation."""

    examples: int
    instruction_words: Counts
    output_words: Counts
    turns: Counts
    """Answers of an example."""
    full_length: Counts
    """Tokens before truncation."""
    instruction_tokens: Counts
    output_tokens: Counts
    """Kept ones; stop tokens are output."""
    tokens: jt.Int64[np.ndarray, " C"]
    """Kept ones by class."""
    targets: jt.Int64[np.ndarray, " C"]
    """Those that a policy may train: see `Dataset.targets`."""
    whole: int
    """Examples that were not truncated."""
    instruction_cut: int
    """Truncated, but not at their last answer."""
    answer_cut: int
    """The last answer, or several, are cut or gone, and some output is left."""
    answer_lost: int
    """No output is left at all."""

    @classmethod
    def joined(cls, parts: Iterable["Measured"]) -> "Measured":
        """Of the examples of all parts."""
        each = list(parts)
        joined: dict[str, Any] = {}
        for name, kind in cls.__annotations__.items():
            values = [getattr(part, name) for part in each]
            if kind is Counts:
                joined[name] = Counts.joined(values)
            elif kind is int:
                joined[name] = sum(values)
            else:
                joined[name] = np.sum([np.zeros(NUM_CLASSES, np.int64), *values], axis=0)
        return cls(**joined)

    @property
    def ratio_in_words(self) -> float | None:
        """Mean instruction over mean output, as in the paper's Table 5."""
        return _ratio(self.instruction_words, self.output_words)

    @property
    def ratio_in_tokens(self) -> float | None:
        """The same of what is kept, in tokens."""
        return _ratio(self.instruction_tokens, self.output_tokens)


def measure(
    dataset: Dataset, stop_length: int, numbers: jt.Int64[np.ndarray, " N"] | None = None
) -> Measured:
    """Measure the examples of a data set.

    Args:
        dataset: examples that are kept.
        stop_length: tokens of the stop after an answer: fewer at the end of an example mean that it is cut.
        numbers: of those that are measured; None: all.
    """
    if numbers is None:
        numbers = np.arange(len(dataset))
    pieces = _pieces(dataset.lengths[numbers])
    return Measured.joined(_measure(dataset, numbers[piece], stop_length) for piece in pieces)


def _pieces(lengths: jt.Int32[np.ndarray, " E"]) -> Iterator[slice]:
    """Stretches of examples, so many at a time as fit in memory."""
    ends = np.cumsum(lengths, dtype=np.int64)
    start = 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(ends, before + _TOKENS, side="right"))
        stop = min(max(fitting, start + 1), start + _EXAMPLES)
        yield slice(start, stop)
        start = stop


def _measure(dataset: Dataset, numbers: jt.Int64[np.ndarray, " N"], stop_length: int) -> Measured:
    flat = dataset.flat(numbers)
    lengths = np.diff(flat.bounds)
    owners = np.repeat(np.arange(len(numbers)), lengths)
    by_class = np.bincount(owners * NUM_CLASSES + flat.classes, minlength=len(numbers) * NUM_CLASSES)
    by_class = by_class.reshape(-1, NUM_CLASSES)
    before = {name: dataset.measured(name, numbers) for name in MEASURES}
    counts: dict[str, Any] = {name: Counts.of(column) for name, column in before.items()}
    is_cut = lengths < before["full_length"]
    has_output = by_class[:, _OUTPUT].any(axis=1)
    has_end = by_class[:, TokenClass.LAST_STOP] >= stop_length
    return Measured(
        examples=len(numbers),
        **counts,
        instruction_tokens=Counts.of(by_class[:, _INSTRUCTION].sum(axis=1)),
        output_tokens=Counts.of(by_class[:, _OUTPUT].sum(axis=1)),
        tokens=by_class.sum(axis=0),
        targets=dataset.targets(numbers).sum(axis=0, dtype=np.int64),
        whole=int(np.count_nonzero(~is_cut)),
        instruction_cut=int(np.count_nonzero(is_cut & has_end)),
        answer_cut=int(np.count_nonzero(is_cut & has_output & ~has_end)),
        answer_lost=int(np.count_nonzero(is_cut & ~has_output)),
    )


def _ratio(instruction: Counts, output: Counts) -> float | None:
    return instruction.total / output.total if output.total else None
