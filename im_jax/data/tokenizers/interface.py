"""What a tokenizer is to the rest of the package."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, SupportsIndex, overload, runtime_checkable

import jaxtyping as jt
import numpy as np


class Encoding(NamedTuple):
    """The T tokens of a text. Token `t` stands for `text[starts[t]:ends[t]]`, counted in characters.

    Where several tokens share one character, each covers it, or covers nothing at its position.
    """

    ids: jt.Int32[np.ndarray, " T"]
    starts: jt.Int32[np.ndarray, " T"]
    ends: jt.Int32[np.ndarray, " T"]


@dataclass(frozen=True, eq=False)
class Encodings(Sequence[Encoding]):
    """The tokens of several texts end to end, which arrays are worked on at once; text `i` is `encodings[i]`.

    texts   ab  c      ids 5 6 7    starts 0 1 0    ends 1 2 1    bounds 0 2 3
    """

    ids: jt.Int32[np.ndarray, " S"]
    starts: jt.Int32[np.ndarray, " S"]
    """Counted from the beginning of each text, as in `Encoding`."""
    ends: jt.Int32[np.ndarray, " S"]
    bounds: jt.Int64[np.ndarray, " E_plus_1"]
    """The tokens of text `i` are `bounds[i]:bounds[i + 1]`."""

    @classmethod
    def of(cls, encodings: Iterable[Encoding]) -> "Encodings":
        """Join encodings, in order."""
        parts = list(encodings)
        ids, starts, ends = (np.concatenate(column) for column in zip(_NONE, *parts, strict=True))
        return cls(ids, starts, ends, bounds_of([len(part.ids) for part in parts]))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> Encoding: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Encoding]: ...

    def __getitem__(self, index: int | slice) -> Encoding | Sequence[Encoding]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        number = range(len(self))[index]
        at = slice(int(self.bounds[number]), int(self.bounds[number + 1]))
        return Encoding(self.ids[at], self.starts[at], self.ends[at])


_NONE = Encoding(*np.zeros((3, 0), np.int32))


def bounds_of(counts: Iterable[int]) -> jt.Int64[np.ndarray, " E_plus_1"]:
    """Where each of several runs begins, laid end to end, and where the last one ends."""
    return np.cumsum([0, *counts], dtype=np.int64)


@runtime_checkable
class Tokenizer(Protocol):
    """What the package asks of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @property
    def bos_id(self) -> int | None:
        """Id of the beginning-of-sequence token, if there is one."""

    @property
    def eos_id(self) -> int | None:
        """Id of the end-of-sequence token, if there is one."""

    @property
    def bos_text(self) -> str | None:
        """Text that is recognised as the beginning-of-sequence token."""

    @property
    def eos_text(self) -> str | None:
        """Text that is recognised as the end-of-sequence token."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of control tokens: ones that no ordinary text should contain."""

    @property
    def trimming_ids(self) -> frozenset[int]:
        """Ids of tokens that take white space beside their text for a part of it."""

    @property
    def adds_bos(self) -> bool:
        """Whether it is this tokenizer's habit to put a BOS before every text."""

    def encode(self, text: str) -> Encoding:
        """Tokens of a text; the text of special tokens is recognised, none is added."""

    def encode_batch(self, texts: Sequence[str]) -> Encodings:
        """`encode` of each text, on several threads where the library has them."""

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """Text of tokens; bytes that are not UTF-8 become replacement characters."""

    def piece(self, token_id: int) -> str:
        """One token as a reader should see it: its text, or `<0xE4>` for a byte of a longer character."""


def byte_piece(value: int) -> str:
    """A token that is one byte, for a reader: the character if it is one by itself."""
    return chr(value) if value < 0x80 else f"<0x{value:02X}>"
