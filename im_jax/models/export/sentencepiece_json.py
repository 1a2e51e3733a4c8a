"""SentencePiece models, and llama2.c vocabularies, as a `tokenizer.json` of the same tokens."""

import pathlib
from typing import Final

import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # type: ignore[attr-defined]
from tokenizers import decoders, models, pre_tokenizers, processors

from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.added import read_beside
from im_jax.data.tokenizers.pieces import SPACE
from im_jax.data.tokenizers.sentencepiece import read_model
from im_jax.errors import ConfigError

_Piece: Final = ModelProto.SentencePiece


def convert(file: pathlib.Path, tokenizer: Tokenizer) -> tuple[tokenizers.Tokenizer, bytes]:
    """A tokenizer of the tokenizers library, and the SentencePiece model that some readers want beside it.

    Args:
        file: a SentencePiece model or a llama2.c vocabulary.
        tokenizer: the one that was read from it.

    Raises:
        ConfigError: it is of a kind that is not converted.
    """
    model = read_model(file.read_bytes())
    assert model is not None
    if model.trainer_spec.model_type != TrainerSpec.BPE or model.normalizer_spec.precompiled_charsmap:
        raise ConfigError(
            f"tokenizer.path={file} is no model of byte pairs, or changes texts before it cuts them; set "
            "--config.tokenizer.path to a tokenizer.json of the same tokens"
        )
    made = tokenizers.Tokenizer(_model(model))
    prefix = model.normalizer_spec.add_dummy_prefix
    made.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=SPACE, prepend_scheme="first" if prefix else "never", split=False
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    _add_tokens(made, model, file)
    if tokenizer.adds_bos:
        bos = str(tokenizer.bos_text), int(tokenizer.bos_id or 0)
        made.post_processor = processors.TemplateProcessing(f"{bos[0]} $A", special_tokens=[bos])
    return made, model.SerializeToString()


def _model(model: ModelProto) -> models.BPE:
    unknown = next((piece.piece for piece in model.pieces if piece.type == _Piece.UNKNOWN), None)
    vocabulary = {piece.piece: i for i, piece in enumerate(model.pieces)}
    return models.BPE(
        vocab=vocabulary,
        merges=_merges(model),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=bool(model.trainer_spec.byte_fallback),
    )


def _merges(model: ModelProto) -> list[tuple[str, str]]:
    """The pairs of pieces that make another one, what SentencePiece would rather make first."""
    normal = {piece.piece: i for i, piece in enumerate(model.pieces) if piece.type == _Piece.NORMAL}
    found = [
        (-model.pieces[number].score, normal[text[:cut]], normal[text[cut:]], text[:cut], text[cut:])
        for text, number in normal.items()
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    return [(left, right) for *_, left, right in sorted(found)]


def _add_tokens(made: tokenizers.Tokenizer, model: ModelProto, file: pathlib.Path) -> None:
    """What is cut out of a text: control tokens of the model, and tokens that the files beside it add."""
    special = (_Piece.UNKNOWN, _Piece.CONTROL)
    for piece in model.pieces:
        if piece.type in (*special, _Piece.USER_DEFINED):
            token = tokenizers.AddedToken(piece.piece, special=piece.type in special, normalized=False)
            made.add_tokens([token])
    for added in read_beside(file)[1]:
        flags = added._asdict()
        del flags["id"], flags["content"]
        made.add_tokens([tokenizers.AddedToken(added.content, **flags)])
        if (given := made.token_to_id(added.content)) != added.id:
            raise ConfigError(
                f"the files beside {file} say that {added.content!r} is token {added.id}, which a "
                f"tokenizer.json would make {given}; set --config.tokenizer.path to one that has it so"
            )
