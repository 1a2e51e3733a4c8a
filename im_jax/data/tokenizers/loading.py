"""The tokenizer that a path names."""

import pathlib

from im_jax.data.tokenizers.interface import Tokenizer
from im_jax.errors import DataError


def make_tokenizer(path: str) -> Tokenizer:
    """The tokenizer that `tokenizer.path` names: `bytes`, a file, or a directory with one.

    Raises:
        DataError: nothing is there, or nothing that is known.
    """
    # Libraries are imported where they are needed: `bytes` works without any of them.
    if path == "bytes":
        from im_jax.data.tokenizers.byte import ByteTokenizer

        return ByteTokenizer()
    file = _tokenizer_file(path)
    content = file.read_bytes()
    if content.lstrip()[:1] == b"{":
        from im_jax.data.tokenizers.huggingface import load_huggingface

        return load_huggingface(file)
    from im_jax.data.tokenizers.sentencepiece import SentencePieceTokenizer, read_model

    model = read_model(content)
    if model is None:
        raise DataError(
            f"tokenizer.path={path}: {file.name} (starts with {content[:16]!r}) is not a "
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
        f"tokenizer.path={path} {problem}; set --config.tokenizer.path to a tokenizer.json (or its "
        f"directory), a SentencePiece .model, a llama2.c tokenizer .bin, or bytes"
    )
