"""Pretrained models of any supported format: `model.path` decides which."""

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models import huggingface, llama2c, stored
from im_jax.models.decoder import Params


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
        "a llama2.c .bin file"
    )
