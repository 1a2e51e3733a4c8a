"""The tokenizer that a path names."""

import pathlib

from im_jax.config import Config
from im_jax.data.tokenizers.interface import Tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.stores import readable

_FILES = ("tokenizer.json", "tokenizer.model")


def tokenizer_path(config: Config) -> str:
    """What `tokenizer.path` means where it is empty: the tokenizer beside a pretrained model, else bytes.

    A pretrained model has learned the ids of one tokenizer; with another it reads noise.

    Raises:
        ConfigError: none is named, and none is beside the model.
    """
    if config.tokenizer.path:
        return config.tokenizer.path
    if not config.model.path:
        return "bytes"
    folder = readable(config.model.path)
    if not any((folder / name).is_file() for name in _FILES):
        raise ConfigError(
            f"there is no tokenizer beside model.path={config.model.path} ({' or '.join(_FILES)}); set "
            "--config.tokenizer.path to the one that the model was trained with"
        )
    return config.model.path


def make_tokenizer(path: str) -> Tokenizer:
    """The tokenizer that `tokenizer.path` names: `bytes`, a file, or a directory with one.

    Raises:
        DataError: nothing is there, or nothing that is known.
    """
    # Libraries are imported where they are needed: `bytes` works without any of them.
    if path == "bytes":
        from im_jax.data.tokenizers.byte import ByteTokenizer

        return ByteTokenizer()
    file = tokenizer_file(path)
    content = file.read_bytes()
    if content.lstrip()[:1] == b"{":
        from im_jax.data.tokenizers.huggingface import load_huggingface

        return load_huggingface(file)
    from im_jax.data.tokenizers.added import read_beside
    from im_jax.data.tokenizers.sentencepiece import SentencePieceTokenizer, read_model

    model = read_model(content)
    if model is None:
        raise DataError(
            f"tokenizer.path={path}: {file.name} (starts with {content[:16]!r}) is not a "
            f"tokenizer.json, a SentencePiece model or a llama2.c tokenizer; set --config.tokenizer.path to "
            f"one of these, or to bytes"
        )
    return SentencePieceTokenizer(model, str(file), *read_beside(file))


def tokenizer_file(path: str) -> pathlib.Path:
    """The file that `tokenizer.path` means where it is not `bytes`. Raises `DataError` if there is none."""
    given = readable(path)
    candidates = [given / name for name in _FILES] if given.is_dir() else [given]
    for file in candidates:
        if file.is_file():
            return file
    problem = "has neither tokenizer.json nor tokenizer.model" if given.is_dir() else "is not there"
    raise DataError(
        f"tokenizer.path={path} {problem}; set --config.tokenizer.path to a tokenizer.json (or its "
        f"directory), a SentencePiece .model, a llama2.c tokenizer .bin, or bytes"
    )
