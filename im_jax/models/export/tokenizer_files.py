"""Files of a tokenizer as transformers has them, from wherever a model's tokenizer is."""

import pathlib
from collections.abc import Mapping
from typing import Any, Final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.added import read_object, token_text
from im_jax.data.tokenizers.loading import tokenizer_file
from im_jax.files import writing
from im_jax.models.export.sentencepiece_json import convert

CONFIG: Final = "tokenizer_config.json"
_BESIDE: Final = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_ANY: Final = "PreTrainedTokenizerFast"
_JSON: Final = "tokenizer.json"
_MODEL: Final = "tokenizer.model"


def read_config(path: str, tokenizer: Tokenizer, max_positions: int) -> dict[str, Any]:
    """tokenizer_config.json of a tokenizer, without a chat template; what is missing is filled in."""
    beside: dict[str, Any] = {}
    if path != "bytes":
        file = tokenizer_file(path)
        named = read_object(file.parent / "special_tokens_map.json")
        beside = {key: value for key, value in named.items() if key.endswith("_token")}
        beside |= read_object(file.parent / CONFIG)
        if not _is_json(file.read_bytes()):
            beside["tokenizer_class"] = _ANY  # classes of SentencePiece would make the tokens anew
    beside.pop("chat_template", None)
    found = {"bos_token": tokenizer.bos_text, "eos_token": tokenizer.eos_text}
    usual = {
        "tokenizer_class": _ANY,
        "model_max_length": max_positions,
        "clean_up_tokenization_spaces": False,
        **{key: text for key, text in found.items() if text is not None},
    }
    return usual | beside


def other_templates(path: str) -> list[str]:
    """Names of the chat templates beside a tokenizer that are not its default."""
    if path == "bytes":
        return []
    folder = tokenizer_file(path).parent
    listed = read_object(folder / CONFIG).get("chat_template")
    names = [str(entry.get("name")) for entry in listed] if isinstance(listed, list) else []
    names += [file.stem for file in folder.glob("additional_chat_templates/*.jinja")]
    return sorted(set(names) - {"default"})


def write_tokenizer(path: str, tokenizer: Tokenizer, directory: pathlib.Path) -> None:
    """Writes all files of the tokenizer at a path but its configuration.

    A SentencePiece model is written beside the `tokenizer.json` that it becomes: llama.cpp reads it.

    Args:
        path: as `tokenizer.path`.
        tokenizer: the one that was read from it.
        directory: where to.

    Raises:
        ConfigError: readers have no such tokenizer.
        StorageError: they cannot be written.
    """
    if path == "bytes":
        _write(directory / _JSON, _byte_tokenizer().to_str(pretty=True).encode())
        return
    file = tokenizer_file(path)
    content = file.read_bytes()
    if _is_json(content):
        _write(directory / _JSON, content)
        model = file.parent / _MODEL
        if model.is_file():
            _write(directory / _MODEL, model.read_bytes())
    else:
        converted, model_bytes = convert(file, tokenizer)
        _write(directory / _JSON, converted.to_str(pretty=True).encode())
        _write(directory / _MODEL, model_bytes)
    for name in _BESIDE:
        if (file.parent / name).is_file():
            _write(directory / name, (file.parent / name).read_bytes())


def _is_json(content: bytes) -> bool:
    return content.lstrip()[:1] == b"{"


def _write(path: pathlib.Path, content: bytes) -> None:
    with writing(path):
        path.write_bytes(content)


def _byte_tokenizer() -> tokenizers.Tokenizer:
    """`ByteTokenizer` as the tokenizers library has it: each byte is a token, and nothing is merged."""
    characters = _byte_characters()
    made = tokenizers.Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([tokenizers.AddedToken(text, normalized=False) for text in ("<s>", "</s>")])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", len(characters))])
    return made


def _byte_characters() -> list[str]:
    """The character by which a byte-level vocabulary of GPT-2 names each byte."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(others)) for byte in range(0x100)]


def special_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Variables that readers give a chat template."""
    texts = {key: token_text(value) for key, value in config.items() if key.endswith("_token")}
    return {key: text for key, text in texts.items() if text is not None}
