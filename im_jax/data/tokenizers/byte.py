"""The tokenizer that needs no file: a token is a UTF-8 byte."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, SupportsIndex

import numpy as np

from im_jax.data.tokenizers.interface import Encoding, Encodings, byte_piece

_BOS: Final = 256
_EOS: Final = 257
_SPECIAL_IDS: Final = {"<s>": _BOS, "</s>": _EOS}
_SPECIAL_TEXT: Final = re.compile("(<s>|</s>)")


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 is `<s>` (BOS) and 257 `</s>` (EOS), both recognised in text.

    A character of several bytes is several tokens, each of which covers the character:

        text    a  é       </s>
        ids     97 195 169 257
        starts  0  1   1   2
        ends    1  2   2   6
    """

    vocab_size = 258
    bos_id = _BOS
    eos_id = _EOS
    bos_text = "<s>"
    eos_text = "</s>"
    special_ids = frozenset(_SPECIAL_IDS.values())
    trimming_ids: frozenset[int] = frozenset()
    adds_bos = True

    def encode(self, text: str) -> Encoding:
        """See `Tokenizer.encode`."""
        parts, at = [], 0
        for part in _SPECIAL_TEXT.split(text):
            parts.append(_encode_part(part, at))
            at += len(part)
        return Encoding(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def encode_batch(self, texts: Sequence[str]) -> Encodings:
        """See `Tokenizer.encode_batch`."""
        return Encodings.of(map(self.encode, texts))

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """See `Tokenizer.decode`."""
        shown = {} if skip_special else {token_id: text.encode() for text, token_id in _SPECIAL_IDS.items()}
        content = b"".join(bytes([i]) if i < _BOS else shown.get(i, b"") for i in map(int, ids))
        return content.decode("utf-8", errors="replace")

    def piece(self, token_id: int) -> str:
        """See `Tokenizer.piece`."""
        return byte_piece(token_id) if token_id < _BOS else self.decode([token_id], skip_special=False)


def _encode_part(text: str, at: int) -> Encoding:
    """A special token, or a run of text without any, whose first character is number `at`."""
    if text in _SPECIAL_IDS:
        return Encoding(*np.array([[_SPECIAL_IDS[text]], [at], [at + len(text)]], np.int32))
    ids = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)
    # Every byte but the continuation bytes 0b10xxxxxx starts a character.
    starts = at - 1 + np.cumsum((ids & 0xC0) != 0x80, dtype=np.int32)
    return Encoding(ids, starts, starts + 1)
