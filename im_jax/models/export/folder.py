"""One folder with all that readers ask for, whole or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jax
import numpy as np
from jax.experimental import multihost_utils

from im_jax.errors import ConfigError
from im_jax.files import writing
from im_jax.models.export import tokenizer_files
from im_jax.models.export.chat_template import source_of
from im_jax.models.export.checks import check_readable
from im_jax.models.export.special_ids import special_ids
from im_jax.models.families import family_for
from im_jax.models.files.layout import LayersOnDisk, tensor_shapes, write_params
from im_jax.models.files.safetensors_writing import write_tensors
from im_jax.models.huggingface import CONFIG
from im_jax.models.loaded import Model
from im_jax.stores.places import check_local

GENERATION: Final = "generation_config.json"
TEMPLATE: Final = "chat_template.jinja"
_ENDS: Final = "eos_token_id"


@dataclass(frozen=True)
class Exported:
    """What is written: a model, and where its parts come from."""

    model: Model
    """Its parameters may be missing."""
    parameter: Callable[[str], np.ndarray | LayersOnDisk]
    """Gives a parameter, all layers of it, by its path in the tree, on this process."""
    dtype: str
    """Type of the parameters, unless another is asked for."""
    tokenizer_path: str
    """As `tokenizer.path`."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How answers were drawn before: keys of generation_config.json."""


def export(
    source: Exported, output: pathlib.Path, *, dtype: str | None = None, max_bytes: float = 5e9
) -> list[str]:
    """Writes the folder. Call it on all processes: the first one reads and writes, the others wait for it.

    Args:
        source: the model.
        output: the folder, which is not there yet, or empty.
        dtype: of the weights; None: as they are.
        max_bytes: of a file of weights, unless one tensor is larger.

    Returns:
        What readers will miss, a line each, on the first process.

    Raises:
        ConfigError: the folder is not empty, or readers would fail.
        CheckpointError: no family has all parts of the model, or weights are not finite in this type.
        StorageError: it cannot be written.
    """
    multihost_utils.sync_global_devices("export begins")  # who waits long must be connected before
    notes = _export(source, output, dtype or source.dtype, max_bytes) if jax.process_index() == 0 else []
    multihost_utils.sync_global_devices("export ends")
    return notes


def _export(source: Exported, output: pathlib.Path, dtype: str, max_bytes: float) -> list[str]:
    model, config = source.model, source.model.config
    check_new(output)
    family = family_for(config, output)
    beside = tokenizer_files.read_config(source.tokenizer_path, model.tokenizer, config.max_positions)
    ids = special_ids(model, beside, _as_list(source.generation.get(_ENDS)))
    notes = check_readable(model, ids) + template_notes(source)
    told = family.config_json(config) | {"dtype": dtype, "torch_dtype": dtype} | ids.of_config()
    with whole(output) as folder:
        write_json(folder / CONFIG, told)
        write_json(folder / GENERATION, {**source.generation, **ids.of_generation()})
        write_tokenizer(folder, source, beside)
        tensors = write_params(family.layout, config, source.parameter)
        write_tensors(folder, tensor_shapes(family.layout, config), dtype, tensors, max_bytes)
    return notes


def template_notes(source: Exported) -> list[str]:
    """What is said of templates that are not written."""
    others = tokenizer_files.other_templates(source.tokenizer_path)
    return [f"of several chat templates one is written; left out: {', '.join(others)}"] if others else []


def check_new(output: pathlib.Path) -> None:
    """Raises ConfigError if there is anything at this place, or it is not on a disk."""
    check_local(output, "--output")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"--output={output} is there already; remove it, or name another folder")


def write_tokenizer(folder: pathlib.Path, source: Exported, beside: dict[str, Any]) -> None:
    """The files of a model's tokenizer, and its template; `beside` is its tokenizer_config.json."""
    model = source.model
    tokenizer_files.write_tokenizer(source.tokenizer_path, model.tokenizer, folder)
    if model.template is not None:
        template = source_of(model.template, model.tokenizer, tokenizer_files.special_texts(beside))
        # Some readers know one place, some the other.
        beside = beside | {"chat_template": template}
        _write_text(folder / TEMPLATE, template)
    write_json(folder / tokenizer_files.CONFIG, beside)


@contextlib.contextmanager
def whole(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `output` that takes its place once all is in it, and goes if anything fails."""
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield folder
        with writing(output):
            mask = os.umask(0)
            os.umask(mask)
            folder.chmod(0o777 & ~mask)
            folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """A file of JSON."""
    _write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: pathlib.Path, text: str) -> None:
    with writing(path), path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _as_list(value: Any) -> list[int]:
    """`eos_token_id`, which may be one or several."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, int)]
