"""SentencePiece models, and llama2.c vocabularies turned into one."""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, SupportsIndex

import numpy as np
import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # type: ignore[attr-defined]

from im_jax.data.tokenizers.interface import Encoding, byte_piece
from im_jax.errors import DataError

_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"
"""How pieces write a space."""
_Piece: Final = ModelProto.SentencePiece


class SentencePieceTokenizer:
    """Encodes with the sentencepiece library, special tokens and spaces as in Hugging Face's LlamaTokenizer.

    The library knows no special tokens in a text, and puts a space (the "dummy prefix") before each text
    that it is given. As in Hugging Face, the text is cut at special tokens, and only a text that opens
    with ordinary characters other than a space gets the extra space:

        text    Hi   </s>  \\n      Hi
        pieces  ▁Hi  </s>  <0x0A>  Hi
    """

    def __init__(self, model: ModelProto, origin: str) -> None:
        """`origin` is named in errors."""
        if model.normalizer_spec.remove_extra_whitespaces:
            raise DataError(
                f"tokenizer.path: {origin} removes repeated spaces, which would change the text; "
                f"set --config.tokenizer.path to a tokenizer.json made for the model"
            )
        self._prefix = " " if model.normalizer_spec.add_dummy_prefix else ""
        self._processor = _processor_without_prefix(model, origin)
        kinds = np.array([piece.type for piece in model.pieces])
        cut_at = np.flatnonzero(np.isin(kinds, [_Piece.UNKNOWN, _Piece.CONTROL, _Piece.USER_DEFINED]))
        self._special = {model.pieces[i].piece: int(i) for i in cut_at}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._cut = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._bytes = [_piece_bytes(piece) for piece in model.pieces]
        self._byte_ids = frozenset(np.flatnonzero(kinds == _Piece.BYTE).tolist())

        self.vocab_size = len(model.pieces)
        self.special_ids = frozenset(
            np.flatnonzero(np.isin(kinds, [_Piece.UNKNOWN, _Piece.CONTROL])).tolist()
        )
        bos, eos = self._processor.bos_id(), self._processor.eos_id()  # -1: there is none
        self.bos_id = bos if bos >= 0 else None
        self.eos_id = eos if eos >= 0 else None
        self.bos_text = model.pieces[bos].piece if bos >= 0 else None
        self.eos_text = model.pieces[eos].piece if eos >= 0 else None
        self.adds_bos = bos >= 0

    def encode(self, text: str) -> Encoding:
        """See `Tokenizer.encode`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """See `Tokenizer.encode_batch`."""
        # Ordinary runs, the only ones that the library sees, and special tokens take turns.
        cut_texts = [self._cut.split(text) for text in texts]
        for parts in cut_texts:
            if parts[0] and not parts[0].startswith((" ", _SPACE)):
                parts[0] = self._prefix + parts[0]
        runs = [run for parts in cut_texts for run in parts[::2]]
        encoded_runs = iter(self._processor.encode(runs, return_type="offset_mapping"))
        return [
            self._joined(parts, encoded_runs, first=len(text) - sum(map(len, parts)))
            for text, parts in zip(texts, cut_texts, strict=True)
        ]

    def _joined(self, parts: list[str], encoded_runs: Iterator[dict[str, Any]], first: int) -> Encoding:
        """Tokens of the parts of one text; `first` is the position of its first part, prefix included."""
        ids: list[int] = []
        offsets = []
        at = first
        for number, part in enumerate(parts):
            if number % 2 == 0:
                run = next(encoded_runs)
                ids += run["ids"]
                offsets.append(np.array(run["offsets"], np.int32).reshape(-1, 2) + at)
            else:
                ids.append(self._special[part])
                offsets.append(np.array([[at, at + len(part)]], np.int32))
            at += len(part)
        return Encoding(np.array(ids, np.int32), *np.maximum(np.concatenate(offsets), 0).astype(np.int32).T)

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """See `Tokenizer.decode`."""
        skipped = self.special_ids if skip_special else frozenset()
        content = b"".join(self._bytes[i] for i in map(int, ids) if i not in skipped)
        return content.decode("utf-8", errors="replace").removeprefix(self._prefix)

    def piece(self, token_id: int) -> str:
        """See `Tokenizer.piece`."""
        content = self._bytes[token_id]
        return byte_piece(content[0]) if token_id in self._byte_ids else content.decode()


def read_model(content: bytes) -> ModelProto | None:
    """The model in a SentencePiece or llama2.c file; None if it is neither."""
    pieces = _read_llama2c(content)
    if pieces is not None:
        return _llama2c_model(pieces)
    try:
        model = ModelProto.FromString(content)
    except DecodeError:
        return None
    return model if model.pieces else None


def _processor_without_prefix(model: ModelProto, origin: str) -> sentencepiece.SentencePieceProcessor:
    changed = ModelProto()
    changed.CopyFrom(model)
    changed.normalizer_spec.add_dummy_prefix = False
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=changed.SerializeToString())
    except RuntimeError as error:
        raise DataError(
            f"tokenizer.path: the sentencepiece library refuses {origin} ({error}); "
            f"set --config.tokenizer.path to an intact model"
        ) from error


def _piece_bytes(piece: ModelProto.SentencePiece) -> bytes:
    if piece.type == _Piece.BYTE:
        return bytes([int(piece.piece[1:-1], 16)])
    return piece.piece.replace(_SPACE, " ").encode()


def _read_llama2c(content: bytes) -> list[tuple[str, float]] | None:
    """Pieces and scores of a llama2.c tokenizer; None if the content is anything else.

    The format: int32 length of the longest piece; then for each piece float32 score, int32 length, bytes.
    """
    pieces = []
    at = 4
    try:
        (longest,) = struct.unpack_from("<i", content)
        while at < len(content):
            score, length = struct.unpack_from("<fi", content, at)
            end = at + 8 + length
            if not 0 <= length <= longest or end > len(content):
                return None
            pieces.append((content[at + 8 : end].decode("utf-8"), score))
            at = end
    except (struct.error, UnicodeDecodeError):
        return None
    return pieces if len(pieces) > _LLAMA2C_FIRST_NORMAL else None


_LLAMA2C_SPECIAL: Final = {
    0: ("<unk>", _Piece.UNKNOWN),
    1: ("<s>", _Piece.CONTROL),
    2: ("</s>", _Piece.CONTROL),
}
_LLAMA2C_FIRST_NORMAL: Final = 3 + 256
"""Ids 3 to 258 are the bytes."""


def _llama2c_model(pieces: list[tuple[str, float]]) -> ModelProto:
    """The SentencePiece model that a llama2.c tokenizer comes from, as far as it decides the tokens."""
    model = ModelProto()
    for i, (text, score) in enumerate(pieces):
        if i in _LLAMA2C_SPECIAL:
            text, kind = _LLAMA2C_SPECIAL[i]
        elif i < _LLAMA2C_FIRST_NORMAL:
            text, kind = f"<0x{i - 3:02X}>", _Piece.BYTE
        else:
            text, kind = text.replace(" ", _SPACE), _Piece.NORMAL
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model
