"""Examples that are in the data twice: which go, and what is said of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.data.duplicates.near import near_duplicates
from im_jax.text import counted, in_one_line

_SHOWN: Final = 60
_NAMED: Final = 3
"""Pairs of ids that are shown of each kind."""


@dataclass
class Kind:
    """One way in which examples are the same."""

    count: int = 0
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """Some of them, with the id of what they repeat."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"count": self.count, "pairs": [list(pair) for pair in self.pairs]}


@dataclass
class DuplicateReport:
    """What is in the data more than once, before anything goes, and what went."""

    deduplicate: str = "none"
    twice: Kind = field(default_factory=Kind)
    """Training examples whose whole conversation stands before, in the same source."""
    across: Kind = field(default_factory=Kind)
    """The same, in another source."""
    prompts: Kind = field(default_factory=Kind)
    """Training examples with another answer to a prompt that stands before."""
    near: Kind = field(default_factory=Kind)
    """Training examples whose prompt is nearly one that stands before; looked for with `near` only."""
    leaks: Kind = field(default_factory=Kind)
    """Training examples whose whole conversation is a held-out one."""
    prompt_leaks: Kind = field(default_factory=Kind)
    """Training examples with another answer to a held-out prompt."""
    near_leaks: Kind = field(default_factory=Kind)
    """Training examples whose prompt is nearly a held-out one."""
    removed: Counter[str] = field(default_factory=Counter)
    """Training examples that went, by source."""

    def lines(self) -> list[str]:
        """For a reader, of each kind that there is a line, with some ids."""
        kinds = {
            "the same example twice in a source": self.twice,
            "the same example in two sources": self.across,
            "another answer to the same prompt": self.prompts,
            "a prompt that is nearly another one's": self.near,
            "the same example in training and held-out data": self.leaks,
            "another answer to a held-out prompt": self.prompt_leaks,
            "a prompt that is nearly a held-out one": self.near_leaks,
        }
        lines = []
        for said, kind in kinds.items():
            if kind.count:
                shown = ", ".join(f"{_short(a)} as {_short(b)}" for a, b in kind.pairs)
                more = ", ..." if kind.count > len(kind.pairs) else ""
                lines.append(f"  {said}: {kind.count:,} ({shown}{more})")
        if self.removed:
            by_source = ", ".join(f"{count:,} of {name}" for name, count in self.removed.items() if name)
            said = f" ({by_source})" if by_source else ""
            count = counted(self.removed.total(), "training example")
            lines.append(f"  data.deduplicate={self.deduplicate} left out {count}{said}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kinds = ("twice", "across", "prompts", "near", "leaks", "prompt_leaks", "near_leaks")
        return {
            "deduplicate": self.deduplicate,
            **{name: getattr(self, name).as_dict() for name in kinds},
            "removed": dict(self.removed),
        }


@dataclass(frozen=True, eq=False)
class Examples:
    """What is compared: held-out examples, and training ones in their order."""

    whole: jt.UInt64[np.ndarray, " E"]
    prompt: jt.UInt64[np.ndarray, " E"]
    source: jt.UInt16[np.ndarray, " E"]
    heldout: int
    """How many of them are held out: the first ones, which win over all others."""
    sources: tuple[str, ...]
    id_of: Callable[[int], str]
    prompt_of: Callable[[int], str]
    """Text of a prompt; asked for by `near` only."""


def find_duplicates(
    examples: Examples, deduplicate: str, doing: Activity = silent
) -> tuple[jt.Bool[np.ndarray, " T"], DuplicateReport]:
    """Which of the T training examples stay, and what was found.

    With `exact`, an example goes whose whole conversation stands before, or is held out. With `near`, so does
    one whose prompt is nearly that of one that stays before it, or of a held-out one: the same prompt with
    another answer is among these. Held-out examples are never removed.
    """
    held = examples.heldout
    report = DuplicateReport(deduplicate)
    same = first_of_each(examples.whole)
    same_prompt = first_of_each(examples.prompt)
    is_same = same != np.arange(len(same))
    other_answer = (same_prompt != np.arange(len(same))) & ~is_same
    kinds = _Kinds(examples, report)
    kinds.note(is_same, same, leaks=report.leaks, within=report.twice, across=report.across)
    kinds.note(other_answer, same_prompt, leaks=report.prompt_leaks, within=report.prompts)
    goes = is_same.copy() if deduplicate != "none" else np.zeros(len(same), bool)
    if deduplicate == "near":
        like = _nearly(examples, same_prompt, doing)
        found = like >= 0
        kinds.note(
            found & (same_prompt == np.arange(len(same))), like, leaks=report.near_leaks, within=report.near
        )
        goes |= found
    goes[:held] = False
    for source in examples.source[goes].tolist():
        report.removed[examples.sources[source]] += 1
    return ~goes[held:], report


def first_of_each(digests: jt.UInt64[np.ndarray, " E"]) -> jt.Int64[np.ndarray, " E"]:
    """The first example of the same digest: an example's own number where it is the first."""
    first = np.arange(len(digests), dtype=np.int64)
    ordered = np.sort(digests)  # values alone: a fraction of what sorting with their places takes
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(repeated):
        nearest = repeated[np.minimum(np.searchsorted(repeated, digests), len(repeated) - 1)]
        mine = np.flatnonzero(nearest == digests)
        _, of_value, value = np.unique(digests[mine], return_index=True, return_inverse=True)
        first[mine] = mine[of_value[value]]
    return first


def _nearly(
    examples: Examples, same_prompt: jt.Int64[np.ndarray, " E"], doing: Activity
) -> jt.Int64[np.ndarray, " E"]:
    """What each prompt is nearly, of those that stand before and stay; -1: nothing.

    Only the first of equal prompts is compared; the others follow it.
    """
    firsts = np.flatnonzero(same_prompt == np.arange(len(same_prompt)))
    with doing(f"comparing {counted(len(firsts), 'prompt')}", len(firsts)) as advance:
        found = near_duplicates(
            len(firsts),
            lambda number: examples.prompt_of(int(firsts[number])),
            always=int(np.count_nonzero(firsts < examples.heldout)),
            advance=advance,
        )
    like = np.full(len(same_prompt), -1, np.int64)
    like[firsts] = np.where(found >= 0, firsts[found], -1)
    others = np.flatnonzero(same_prompt != np.arange(len(same_prompt)))
    of_first = same_prompt[others]
    like[others] = np.where(like[of_first] >= 0, like[of_first], of_first)
    return like


@dataclass
class _Kinds:
    """Sorts what was found into the kinds of a report."""

    examples: Examples
    report: DuplicateReport

    def note(
        self,
        found: jt.Bool[np.ndarray, " E"],
        first: jt.Int64[np.ndarray, " E"],
        *,
        leaks: Kind,
        within: Kind,
        across: Kind | None = None,
    ) -> None:
        """Count training examples and what they repeat; without `across`, sources are not told apart."""
        numbers = np.flatnonzero(found)
        numbers = numbers[numbers >= self.examples.heldout]
        leaked = first[numbers] < self.examples.heldout
        source = self.examples.source
        other = (
            source[numbers] != source[first[numbers]] if across is not None else np.zeros(len(numbers), bool)
        )
        for kind, mine in ((leaks, leaked), (within, ~leaked & ~other), (across, ~leaked & other)):
            if kind is not None:
                kind.count += int(np.count_nonzero(mine))
                for number in numbers[mine][:_NAMED].tolist():
                    kind.pairs.append((self.examples.id_of(number), self.examples.id_of(int(first[number]))))


def _short(identity: str) -> str:
    """An id as a line has room for it: of a long path, the source that it begins with and the file."""
    text = in_one_line(identity)
    if len(text) > _SHOWN and text.count("/") > 1:
        text = f"{text.partition('/')[0]}/.../{text.rpartition('/')[2]}"
    return text if len(text) <= _SHOWN else f"...{text[3 - _SHOWN :]}"
