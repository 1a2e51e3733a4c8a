"""Pretrained models of any supported format: `model.path` decides which."""

import contextlib
import dataclasses
import fnmatch
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jax

from im_jax.config import GROW, ModelConfig
from im_jax.console import print_text
from im_jax.errors import ConfigError
from im_jax.models import huggingface
from im_jax.models.adapters.lora import base_of
from im_jax.models.adapters.peft.config import CONFIG as ADAPTER
from im_jax.models.decoder import Params
from im_jax.models.families import llama2c as llama2c_models
from im_jax.models.files import llama2c
from im_jax.models.files.enlarged import enlarged
from im_jax.models.files.layout import Checkpoint, ParamReader, tensor_shapes
from im_jax.models.files.reading import read_params
from im_jax.models.files.safetensors_writing import DTYPES
from im_jax.models.files.tensors import Tensors, check_tensors
from im_jax.stores import readable

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve_model(model: ModelConfig) -> ModelConfig:
    """The model with the checkpoint's architecture; without `path`, as it is.

    `path`, `compute_dtype`, `param_dtype`, `remat` and `attention` stay. Call it before filling in the
    tokenizer's vocabulary, which may be smaller than the checkpoint's. Names, shapes and types of all tensors
    are checked here, so that no data is prepared for a checkpoint that cannot be loaded.

    Raises:
        ConfigError: `path` is no checkpoint, or `vocab_size` is set and not the checkpoint's.
        CheckpointError: the checkpoint cannot be read, or is of an architecture that is not supported.
    """
    if not model.path:
        return model
    with _open(model.path) as opened:
        vocab = opened.fields["vocab_size"]
        if model.vocab_size not in (None, GROW, vocab):
            raise ConfigError(
                f"model.vocab_size is {model.vocab_size}, but {model.path} has a vocabulary of {vocab}; "
                "leave model.vocab_size unset, or set it to grow for a tokenizer with more tokens"
            )
        resolved = dataclasses.replace(model, **opened.fields)
        check_tensors(tensor_shapes(opened.layout, base_of(resolved)), opened.tensors, model.path)
        if model.vocab_size == GROW:
            resolved.vocab_size = GROW
        for note in opened.notes if jax.process_index() == 0 else ():
            print_text(f"note: {note}", sys.stderr)
    return resolved


def grow_vocabulary(model: ModelConfig, tokens: int, parts: int, before: int | None = None) -> ModelConfig:
    """The model with a number for a `vocab_size` of `grow`; any other as it is. Says what is added.

    Args:
        model: as `resolve_model` returned it.
        tokens: that need rows.
        parts: devices that share the rows, whose number divides that of the rows.
        before: rows in the run that goes on, which stay if they suffice, whatever its devices were.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    if model.vocab_size != GROW:
        return model
    own = 0
    if model.path:
        with _open(model.path) as opened:
            own = int(opened.fields["vocab_size"])
    needed = max(own, tokens)
    rows = before if before is not None and before >= needed else -(-needed // parts) * parts
    if model.path and rows > own and jax.process_index() == 0:
        print_text(
            f"note: {model.path} has {own} rows of embeddings; {rows - own} are added, each the mean of "
            f"these: {needed - own} for tokens, {rows - needed} to fill up",
            sys.stderr,
        )
    return dataclasses.replace(model, vocab_size=rows)


def load_pretrained(model: ModelConfig, shardings: Any) -> Params:
    """Parameters of the checkpoint at `model.path`, in the model's types, straight into their shards.

    Args:
        model: as `resolve_model` and `grow_vocabulary` returned it; its adapter, if it has one, is not read.
        shardings: those of `decoder.param_shardings`, or a part of that tree: what is wanted.

    Raises:
        ConfigError: `path` is no checkpoint.
        CheckpointError: files cannot be read, do not fit the model, or hold NaN or infinity.
    """
    with _open(model.path) as opened:
        model = base_of(model)
        return read_params(opened.layout, model, shardings, _tensors(opened, model))


@contextlib.contextmanager
def open_params(model: ModelConfig) -> Iterator[ParamReader]:
    """The parameters of the checkpoint at `model.path`, to be read one by one while it is open.

    Args:
        model: as `resolve_model` and `grow_vocabulary` returned it.

    Raises:
        CheckpointError: files cannot be read, or do not fit the model.
    """
    with _open(model.path) as opened:
        model = base_of(model)
        yield ParamReader(opened.layout, model, _tensors(opened, model))


def _tensors(opened: Checkpoint, model: ModelConfig) -> Tensors:
    """The tensors of a checkpoint, checked, with as many rows of embeddings as the model has."""
    own = opened.fields["vocab_size"]
    stored = dataclasses.replace(model, vocab_size=own)
    check_tensors(tensor_shapes(opened.layout, stored), opened.tensors, model.path)
    assert isinstance(model.vocab_size, int) and model.vocab_size >= own
    tables = {opened.layout[path].name for path in ("embedding", "head")} & opened.tensors.keys()
    more = {name: enlarged(opened.tensors[name], model.vocab_size) for name in tables}
    return {**opened.tensors, **more}


def stored_dtype(path: str) -> str:
    """The type that all tensors of a checkpoint have; float32 where they differ. Raises as `open_params`."""
    with _open(path) as opened:
        found = {tensor.dtype for tensor in opened.tensors.values()}
    known = {stored: name for name, stored in DTYPES.items()}
    return known.get(found.pop(), "float32") if len(found) == 1 else "float32"


def _open(path: str) -> contextlib.AbstractContextManager[Checkpoint]:
    place = readable(path)
    if (place / huggingface.CONFIG).is_file():
        return huggingface.open_checkpoint(place)
    if path.endswith(".bin") and place.is_file():
        return _open_llama2c(place)
    if (place / ADAPTER).is_file():
        raise ConfigError(
            f"model.path is {path!r}, which is an adapter of PEFT: name its base there, and the adapter in "
            "model.lora.path"
        )
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


@contextlib.contextmanager
def _open_llama2c(path: Path) -> Iterator[Checkpoint]:
    header = llama2c.read_header(path)
    tensors = {
        name: tensor
        for name, tensor in llama2c.map_tensors(path, header).items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in llama2c_models.IGNORED)
    }
    yield Checkpoint(llama2c_models.fields(header), llama2c_models.LAYOUT, tensors)
