"""What a tokenizer is to the rest of the package."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, SupportsIndex, runtime_checkable

import jaxtyping as jt
import numpy as np


class Encoding(NamedTuple):
    """The T tokens of a text. Token `t` stands for `text[starts[t]:ends[t]]`, counted in characters.

    Where several tokens share one character, each covers it, or covers nothing at its position.
    """

    ids: jt.Int32[np.ndarray, " T"]
    starts: jt.Int32[np.ndarray, " T"]
    ends: jt.Int32[np.ndarray, " T"]


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
    def adds_bos(self) -> bool:
        """Whether it is this tokenizer's habit to put a BOS before every text."""

    def encode(self, text: str) -> Encoding:
        """Tokens of a text; the text of special tokens is recognised, none is added."""

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """`encode` of each text, on several threads where the library has them."""

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """Text of tokens; bytes that are not UTF-8 become replacement characters."""

    def piece(self, token_id: int) -> str:
        """One token as a reader should see it: its text, or `<0xE4>` for a byte of a longer character."""


def byte_piece(value: int) -> str:
    """A token that is one byte, for a reader: the character if it is one by itself."""
    return chr(value) if value < 0x80 else f"<0x{value:02X}>"
