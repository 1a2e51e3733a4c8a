"""Where the pieces of a SentencePiece model lie in a text, counted from their own characters."""

import itertools
import os
import re
from collections.abc import Sequence
from typing import Final

import jaxtyping as jt
import numpy as np
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from im_jax.data.tokenizers.interface import Encoding, Encodings, bounds_of
from im_jax.data.tokenizers.words import WordEncoder

SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"
"""How pieces write a space."""
_WORDS: Final = re.compile(r" *[^ ]+| +")
"""With the spaces before them; spaces at the end are one too."""
_UNKNOWN_WIDTH: Final = 1 << 30
"""Characters of a piece that may be any: no text is as long."""
_Piece: Final = ModelProto.SentencePiece


class PieceEncoder:
    """Encodes runs of text without special tokens.

    The library takes longer to tell where tokens lie than to find them. Where the model changes no character,
    each piece covers as many as it has; of a character that is several bytes, the last byte covers it, as the
    library says too. Where that does not add up, as behind an unknown token, the library is asked.
    """

    def __init__(self, processor: sentencepiece.SentencePieceProcessor, model: ModelProto) -> None:
        """`processor`: made of the model, without a prefix."""
        spec = model.normalizer_spec
        self._processor = processor
        self._is_identity = not spec.precompiled_charsmap and spec.escape_whitespaces
        # The variable is the tokenizers library's: a worker process has one core, not all.
        self._threads = 1 if os.environ.get("TOKENIZERS_PARALLELISM") == "false" else -1
        self._widths = np.array([_width(piece) for piece in model.pieces], np.int64)
        self._continues = np.array([_continues(piece) for piece in model.pieces])
        words_alone = self._is_identity and _begin_with_their_spaces(model)
        self._words = WordEncoder(self._by_widths, _WORDS) if words_alone else None

    def encode(self, runs: Sequence[str]) -> Encodings:
        """Tokens of each run."""
        if self._words is None or any(SPACE in run for run in runs):
            return self._by_widths(runs)
        return self._words.encode(runs)

    def _by_widths(self, runs: Sequence[str]) -> Encodings:
        if not self._is_identity:
            return Encodings.of(self._asked(run) for run in runs)
        found: list[list[int]] = self._processor.encode(list(runs), out_type=int, num_threads=self._threads)
        bounds = bounds_of(map(len, found))
        ids = np.fromiter(itertools.chain.from_iterable(found), np.int32, int(bounds[-1]))
        widths = self._widths[ids]
        widths[:-1][self._continues[ids[1:]]] = 0
        ends = np.concatenate([[0], np.cumsum(widths)])
        before = np.repeat(ends[bounds[:-1]], np.diff(bounds))
        lengths = np.fromiter(map(len, runs), np.int64, len(runs))
        right = np.diff(ends[bounds]) == lengths
        encodings = Encodings(
            ids,
            _narrow(np.where(np.repeat(right, np.diff(bounds)), ends[:-1] - before, 0)),
            _narrow(np.where(np.repeat(right, np.diff(bounds)), ends[1:] - before, 0)),
            bounds,
        )
        for number in np.flatnonzero(~right).tolist():
            told, here = self._asked(runs[number]), encodings[number]
            here.starts[:], here.ends[:] = told.starts, told.ends
        return encodings

    def _asked(self, run: str) -> Encoding:
        """The same of one run, as the library tells it."""
        told = self._processor.encode(run, return_type="offset_mapping")
        pairs = np.array(told["offsets"], np.int32).reshape(-1, 2)
        return Encoding(np.array(told["ids"], np.int32), pairs[:, 0], pairs[:, 1])


def _begin_with_their_spaces(model: ModelProto) -> bool:
    """Whether spaces stand only at the front of pieces, so that no token reaches into the word before."""
    usual = [p.piece for p in model.pieces if p.type in (_Piece.NORMAL, _Piece.USER_DEFINED)]
    return SPACE in usual and not any(SPACE in piece.lstrip(SPACE) for piece in usual)


def _narrow(values: jt.Int64[np.ndarray, " S"]) -> jt.Int32[np.ndarray, " S"]:
    return values.astype(np.int32)


def _width(piece: ModelProto.SentencePiece) -> int:
    if piece.type == _Piece.UNKNOWN:
        return _UNKNOWN_WIDTH
    return 1 if piece.type == _Piece.BYTE else len(piece.piece)


def _continues(piece: ModelProto.SentencePiece) -> bool:
    """Whether it is a byte that never begins a character: 0b10xxxxxx."""
    return piece.type == _Piece.BYTE and int(piece.piece[1:-1], 16) & 0xC0 == 0x80
