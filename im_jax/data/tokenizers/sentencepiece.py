"""SentencePiece models, and llama2.c vocabularies turned into one."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, SupportsIndex

import numpy as np
import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # type: ignore[attr-defined]

from im_jax.data.tokenizers.added import AddedToken, Cutter, Part, token_text
from im_jax.data.tokenizers.interface import Encoding, Encodings, bounds_of, byte_piece
from im_jax.data.tokenizers.named import with_named
from im_jax.data.tokenizers.pieces import SPACE, PieceEncoder
from im_jax.errors import DataError

_Piece: Final = ModelProto.SentencePiece


class SentencePieceTokenizer:
    """Encodes with the sentencepiece library, special tokens and spaces as in Hugging Face's LlamaTokenizer.

    The library knows no special tokens in a text, and puts a space (the "dummy prefix") before each text
    that it is given. As in Hugging Face, the text is cut at special tokens, and only a text that opens
    with ordinary characters other than a space gets the extra space:

        text    Hi   </s>  \\n      Hi
        pieces  ▁Hi  </s>  <0x0A>  Hi
    """

    def __init__(
        self,
        model: ModelProto,
        origin: str,
        config: Mapping[str, Any] | None = None,
        added: Sequence[AddedToken] = (),
    ) -> None:
        """A model with the configuration and the added tokens beside it; `origin` is named in errors."""
        if model.normalizer_spec.remove_extra_whitespaces:
            raise DataError(
                f"tokenizer.path: {origin} removes repeated spaces, which would change the text; "
                f"set --config.tokenizer.path to a tokenizer.json made for the model"
            )
        self._prefix = " " if model.normalizer_spec.add_dummy_prefix else ""
        self._processor = _processor_without_prefix(model, origin)
        self._pieces = PieceEncoder(self._processor, model)
        kinds = np.array([piece.type for piece in model.pieces])
        control = np.flatnonzero(np.isin(kinds, [_Piece.UNKNOWN, _Piece.CONTROL])).tolist()
        user_defined = np.flatnonzero(kinds == _Piece.USER_DEFINED).tolist()
        own = [
            AddedToken(int(i), model.pieces[i].piece, i in control, normalized=False)
            for i in [*control, *user_defined]
        ]
        _check_added(model, added, origin)
        ids = {piece.piece: i for i, piece in enumerate(model.pieces)} | {t.content: t.id for t in added}
        added = with_named(config or {}, added, own, ids)
        tokens = {token.content: token for token in [*own, *added]}
        self._cutter = Cutter(tokens.values())
        self._bytes = {i: _piece_bytes(piece) for i, piece in enumerate(model.pieces)}
        self._bytes |= {token.id: token.content.encode() for token in added}
        self._byte_ids = frozenset(np.flatnonzero(kinds == _Piece.BYTE).tolist())

        self.vocab_size = 1 + max(self._bytes)
        self.special_ids = frozenset([*control, *(token.id for token in added if token.special)])
        self.trimming_ids = frozenset(token.id for token in added if token.lstrip or token.rstrip)
        known = ids | {token.content: token.id for token in added}
        bos, eos = self._processor.bos_id(), self._processor.eos_id()
        self.bos_text, self.bos_id = _boundary(config or {}, "bos_token", bos, model, known, origin)
        self.eos_text, self.eos_id = _boundary(config or {}, "eos_token", eos, model, known, origin)
        habit = (config or {}).get("add_bos_token")
        self.adds_bos = self.bos_id is not None and (habit if isinstance(habit, bool) else True)

    def encode(self, text: str) -> Encoding:
        """See `Tokenizer.encode`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> Encodings:
        """See `Tokenizer.encode_batch`."""
        cut_texts = [self._cutter.cut(text) for text in texts]
        firsts = []
        for text, parts in zip(texts, cut_texts, strict=True):
            if parts and parts[0][1] is None and not parts[0][0].startswith((" ", SPACE)):
                parts[0] = (self._prefix + parts[0][0], None)
            # Where the first part begins in the text: before it, if there is a prefix.
            firsts.append(len(text) - sum(len(part) for part, _ in parts))
        # The library sees only what is not a special or added token.
        runs = [run for parts in cut_texts for run, token_id in parts if token_id is None]
        return _joined(cut_texts, firsts, self._pieces.encode(runs))

    def decode(self, ids: Iterable[SupportsIndex], skip_special: bool = True) -> str:
        """See `Tokenizer.decode`."""
        skipped = self.special_ids if skip_special else frozenset()
        content = b"".join(self._bytes.get(i, b"") for i in map(int, ids) if i not in skipped)
        return content.decode("utf-8", errors="replace").removeprefix(self._prefix)

    def piece(self, token_id: int) -> str:
        """See `Tokenizer.piece`."""
        if token_id not in self._bytes:
            return f"<unused {token_id}>"
        content = self._bytes[token_id]
        return byte_piece(content[0]) if token_id in self._byte_ids else content.decode()


def _joined(cut_texts: Sequence[Sequence[Part]], firsts: Sequence[int], runs: Encodings) -> Encodings:
    """Tokens of the parts of each text; `firsts` are the positions of the first parts, prefixes included."""
    parts = [part for parts in cut_texts for part in parts]
    lengths = np.fromiter((len(text) for text, _ in parts), np.int64, len(parts))
    special = np.fromiter((-1 if i is None else i for _, i in parts), np.int64, len(parts))
    is_run = special < 0
    counts = np.ones(len(parts), np.int64)
    counts[is_run] = np.diff(runs.bounds)
    part_bounds, text_bounds = bounds_of(counts.tolist()), bounds_of(map(len, cut_texts))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    # Of each part, where it begins in its text.
    begins = ends[:-1] + np.repeat(np.array(firsts, np.int64) - ends[text_bounds[:-1]], np.diff(text_bounds))
    of_run = np.repeat(is_run, counts)
    ids, starts, stops = (np.zeros(int(part_bounds[-1]), np.int64) for _ in range(3))
    at_specials = part_bounds[:-1][~is_run]
    ids[of_run], ids[at_specials] = runs.ids, special[~is_run]
    starts[of_run], stops[of_run] = runs.starts, runs.ends
    stops[at_specials] = lengths[~is_run]
    shift = np.repeat(begins, counts)
    starts, stops = np.maximum(starts + shift, 0), np.maximum(stops + shift, 0)
    flat = [each.astype(np.int32) for each in (ids, starts, stops)]
    return Encodings(flat[0], flat[1], flat[2], part_bounds[text_bounds])


def _check_added(model: ModelProto, added: Sequence[AddedToken], origin: str) -> None:
    """Stop at a token whose id the model gives to another, or that has another id in the model."""
    own = {piece.piece: i for i, piece in enumerate(model.pieces)}
    for token in added:
        here = model.pieces[token.id].piece if token.id < len(model.pieces) else token.content
        if here != token.content or own.get(token.content, token.id) != token.id:
            raise DataError(
                f"tokenizer.path: the files beside {origin} say that token {token.id} is {token.content!r}, "
                + (
                    f"but the model says {here!r}"
                    if here != token.content
                    else f"but in the model that is token {own[token.content]}"
                )
                + "; correct them"
            )


def _boundary(
    config: Mapping[str, Any], key: str, own: int, model: ModelProto, known: Mapping[str, int], origin: str
) -> tuple[str | None, int | None]:
    """Text and id of BOS or EOS: as the configuration says, else the model's own, which is -1 for none."""
    text = token_text(config[key]) if key in config else model.pieces[own].piece if own >= 0 else None
    if text is None:
        return None, None
    if text not in known:
        raise DataError(
            f"tokenizer.path: tokenizer_config.json says {key} is {text!r}, but neither {origin} nor the "
            "files beside it have such a token; correct one of them"
        )
    return text, known[text]


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
    return piece.piece.replace(SPACE, " ").encode()


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
            text, kind = text.replace(" ", SPACE), _Piece.NORMAL
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model
