"""How text becomes tokens: one interface over four kinds of tokenizer.

    kind            recognised by                                     encodes with
    bytes           the name `bytes`                                  NumPy
    Hugging Face    a `tokenizer.json`, or a directory that has one   the tokenizers library
    SentencePiece   a serialised model, whatever the file is called   the sentencepiece library
    llama2.c        a binary vocabulary such as `tok512.bin`          the sentencepiece library

A text is always tokenised once and whole. Tokens come with character offsets, from which their classes
are derived (`im_jax.data.encoding`); nothing here adds a beginning- or end-of-sequence token.
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, SupportsIndex, runtime_checkable

import jaxtyping as jt
import numpy as np

from im_jax.errors import DataError


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


def make_tokenizer(path: str) -> Tokenizer:
    """The tokenizer that `config.tokenizer.path` names: `bytes`, a file, or a directory with one.

    Raises:
        DataError: nothing is there, or nothing that is known.
    """
    # Libraries are imported where they are needed: `bytes` works without any of them.
    if path == "bytes":
        from im_jax.data.byte_tokenizer import ByteTokenizer

        return ByteTokenizer()
    file = _tokenizer_file(path)
    content = file.read_bytes()
    if content.lstrip()[:1] == b"{":
        from im_jax.data.huggingface_tokenizer import load_huggingface

        return load_huggingface(file)
    from im_jax.data.sentencepiece_tokenizer import SentencePieceTokenizer, read_model

    model = read_model(content)
    if model is None:
        raise DataError(
            f"config.tokenizer.path={path}: {file.name} (starts with {content[:16]!r}) is not a "
            f"tokenizer.json, a SentencePiece model or a llama2.c tokenizer; set --config.tokenizer.path to "
            f"one of these, or to bytes"
        )
    return SentencePieceTokenizer(model, str(file))


def _tokenizer_file(path: str) -> pathlib.Path:
    given = pathlib.Path(path)
    candidates = [given / "tokenizer.json", given / "tokenizer.model"] if given.is_dir() else [given]
    for file in candidates:
        if file.is_file():
            return file
    problem = "has neither tokenizer.json nor tokenizer.model" if given.is_dir() else "is not there"
    raise DataError(
        f"config.tokenizer.path={path} {problem}; set --config.tokenizer.path to a tokenizer.json (or its "
        f"directory), a SentencePiece .model, a llama2.c tokenizer .bin, or bytes"
    )


def byte_piece(value: int) -> str:
    """A token that is one byte, for a reader: the character if it is one by itself."""
    return chr(value) if value < 0x80 else f"<0x{value:02X}>"
