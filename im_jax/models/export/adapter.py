"""The adapter of a model alone, as a folder that PEFT and vLLM read beside the base."""

import pathlib
from typing import Final

import jax
from jax.experimental import multihost_utils

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters.peft.config import CONFIG
from im_jax.models.adapters.peft.reading import WEIGHTS
from im_jax.models.adapters.peft.writing import adapter_files
from im_jax.models.checkpoints import resolve_model
from im_jax.models.export import tokenizer_files
from im_jax.models.export.checks import check_readable
from im_jax.models.export.folder import (
    Exported,
    check_new,
    template_notes,
    whole,
    write_json,
    write_tokenizer,
)
from im_jax.models.export.special_ids import special_ids
from im_jax.models.files.safetensors_writing import write_file

_VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Choices of vLLM's --max-lora-rank, of which 16 is the default."""
_VLLM_DEFAULT: Final = 16


def export_adapter(source: Exported, output: pathlib.Path, *, dtype: str | None = None) -> list[str]:
    """Writes adapter_config.json, adapter_model.safetensors, the tokenizer and the template.

    Call it on all processes: the first one reads and writes, the others wait for it.

    Args:
        source: the model with its adapter; the files name its `path` as the base.
        output: the folder, which is not there yet, or empty.
        dtype: of the weights; None: float32.

    Returns:
        What readers will miss, a line each, on the first process.

    Raises:
        ConfigError: the folder is not empty, or the model's base is none that readers can load.
        CheckpointError: the model is of no family, or weights are not finite in this type.
        StorageError: it cannot be written.
    """
    multihost_utils.sync_global_devices("export begins")  # as in `export`
    notes = _export(source, output, dtype or "float32") if jax.process_index() == 0 else []
    multihost_utils.sync_global_devices("export ends")
    return notes


def _export(source: Exported, output: pathlib.Path, dtype: str) -> list[str]:
    check_new(output)
    model, base = source.model, source.model.config.path
    if not base:
        raise ConfigError(
            "the adapter is of random weights, which no reader has; set --adapter=merge to write a model"
        )
    own = resolve_model(ModelConfig(path=base)).vocab_size
    if own != model.config.vocab_size:
        raise ConfigError(
            f"the run's model has {model.config.vocab_size} rows of embeddings, and its base in {base} has "
            f"{own}: an adapter would lack the rows that were added; set --adapter=merge to write a model"
        )
    beside = tokenizer_files.read_config(source.tokenizer_path, model.tokenizer, model.config.max_positions)
    notes = check_readable(model, special_ids(model, beside)) + template_notes(source)
    files = adapter_files(model.config, source.parameter, base)
    notes += _base_notes(base) + _vllm_notes(files.config["r"])
    with whole(output) as folder:
        write_json(folder / CONFIG, files.config)
        write_tokenizer(folder, source, beside)
        write_file(folder / WEIGHTS, files.shapes, dtype, files.tensors)
    return notes


def _base_notes(base: str) -> list[str]:
    if not base.endswith(".bin"):
        return []
    return [
        f"readers of the adapter need its base in their own form: write it with --model={base}, and set "
        f"base_model_name_or_path in {CONFIG} to that folder"
    ]


def _vllm_notes(rank: int) -> list[str]:
    if rank <= _VLLM_DEFAULT:
        return []
    fits = next((choice for choice in _VLLM_RANKS if choice >= rank), None)
    if fits is None:
        most = _VLLM_RANKS[-1]
        return [f"the adapter's rank is {rank}, and vLLM takes {most} at most: give it a merged model"]
    return [f"the adapter's rank is {rank}: start vLLM with --max-lora-rank={fits}"]
