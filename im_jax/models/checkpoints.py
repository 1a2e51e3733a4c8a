"""Pretrained models of any supported format: `model.path` decides which."""

import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import huggingface, llama2c, stored
from im_jax.models.decoder import Params

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve_model(model: ModelConfig) -> ModelConfig:
    """The model with the checkpoint's architecture; without `path`, as it is.

    `path`, `compute_dtype`, `param_dtype`, `remat` and `attention` stay. Call it before filling in the
    tokenizer's vocabulary, which may be smaller than the checkpoint's.

    Raises:
        ConfigError: `path` is no checkpoint, or `vocab_size` is set and not the checkpoint's.
        CheckpointError: the checkpoint cannot be read or is of another architecture, or `model` asks for
            parts of GPT-2, which no checkpoint has.
    """
    if not model.path:
        return model
    stored.check_family(model, model.path)
    fields = _format(model.path).read_config(model.path)
    if model.vocab_size not in (None, fields["vocab_size"]):
        raise ConfigError(
            f"model.vocab_size is {model.vocab_size}, but {model.path} has a vocabulary of "
            f"{fields['vocab_size']}; leave model.vocab_size unset"
        )
    return dataclasses.replace(model, **fields)


def load_pretrained(model: ModelConfig, shardings: Any) -> Params:
    """Parameters of the checkpoint at `model.path`, in `param_dtype`, straight into their shards.

    Args:
        model: as `resolve_model` returned it.
        shardings: pytree of shardings from `decoder.param_shardings`.

    Raises:
        ConfigError: `path` is no checkpoint.
        CheckpointError: files cannot be read, or do not fit the model.
    """
    return _format(model.path).load_params(model.path, model, shardings)


def _format(path: str) -> ModuleType:
    if (Path(path) / "config.json").is_file():
        return huggingface
    if path.endswith(".bin") and Path(path).is_file():
        return llama2c
    raise ConfigError(
        f"model.path is {path!r}, which is neither a directory with a config.json (Hugging Face) nor "
        f"a llama2.c .bin file{_how_to_download(path)}"
    )


def _how_to_download(path: str) -> str:
    """What to do where the name of a model in a hub, such as `meta-llama/Llama-2-7b-hf`, is no local path."""
    if not _HUB_NAME.fullmatch(path) or Path(path).exists():
        return ""
    directory = path.partition("/")[2]
    return (
        ", but may be the name of a model in the Hugging Face hub: "
        f"hf download {path} --local-dir {directory}, then set --config.model.path={directory}"
    )
