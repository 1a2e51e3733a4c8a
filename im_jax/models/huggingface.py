"""Folders as Hugging Face's libraries have them: config.json and safetensors, of any family."""

import contextlib
import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.files import write_whole
from im_jax.models.decoder import Params
from im_jax.models.families import family_for, family_of
from im_jax.models.families.family import Family
from im_jax.models.families.multimodal import Multimodal, multimodal_of
from im_jax.models.files import safetensors_folder, safetensors_writing
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Checkpoint, by_path, tensor_shapes, write_params
from im_jax.models.files.tensors import Tensor, equal
from im_jax.stores import readable

CONFIG: Final = "config.json"


def read_config(directory: str | Path) -> dict[str, Any]:
    """Architecture as config.json alone tells it, as fields of `ModelConfig`.

    Raises:
        CheckpointError: config.json is missing or broken, has a value that cannot be, or asks for what the
            decoder does not have.
    """
    return _described(readable(directory))[0]


@contextlib.contextmanager
def open_checkpoint(directory: str | Path) -> Iterator[Checkpoint]:
    """A checkpoint whose tensors can be read while it is open.

    The files decide whether the head is the embedding: where both are there and differ, they were trained
    apart, whatever config.json says.

    Raises:
        CheckpointError: as `read_config`; weights are missing or cut; a head is missing.
    """
    directory = readable(directory)
    fields, family, whole = _described(directory)
    with safetensors_folder.open_tensors(directory) as found:
        notes = []
        if whole is not None:
            found, left_out = whole.text_tensors(found, directory)
            notes.append(left_out)
        tensors = _named(found, family)
        tied, differs = _settle_head(tensors, family, fields["tie_embeddings"], directory)
        notes += [differs] if differs else []
        yield Checkpoint(fields | {"tie_embeddings": tied}, family.layout, tensors, tuple(notes))


def _described(directory: Path) -> tuple[dict[str, Any], Family, Multimodal | None]:
    """The architecture in config.json, its family, and what the model is a part of, if of anything."""
    keys = Keys.of_file(directory / CONFIG)
    whole = multimodal_of(keys)
    if whole is not None:
        return whole.text.fields(whole.text_keys(keys)), whole.text, whole
    family = family_of(keys)
    return family.fields(keys), family, None


def save_params(params: Params, config: ModelConfig, directory: str | Path) -> None:
    """Writes `config.json` and `model.safetensors`, in the parameters' own type.

    Only what a model is computed with: `im_jax.models.export` writes all that readers need.

    Raises:
        CheckpointError: no family has all parts of this model.
        StorageError: the files cannot be written.
    """
    family = family_for(config, directory)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / CONFIG, json.dumps(family.config_json(config), indent=2) + "\n")
    safetensors_writing.write_tensors(
        directory,
        tensor_shapes(family.layout, config),
        params["embedding"].dtype.name,
        write_params(family.layout, config, by_path(params).__getitem__),
    )


def _named(found: dict[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Tensors under the names of the whole model, without those that say nothing new."""
    embedding, head = family.layout["embedding"].name, family.layout["head"].name
    if embedding not in found and embedding.removeprefix(family.prefix) in found:  # of the bare model
        found = {name if name == head else family.prefix + name: tensor for name, tensor in found.items()}
    return {
        name: tensor
        for name, tensor in found.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in family.ignored)
    }


def _settle_head(
    tensors: dict[str, Tensor], family: Family, tied: bool, directory: Path
) -> tuple[bool, str | None]:
    """Whether the head is the embedding, and what is to be said about it; mends `tensors` to fit."""
    embedding, head = family.layout["embedding"].name, family.layout["head"].name
    if not tied:
        if head not in tensors:
            raise CheckpointError(
                f"{directory}: {CONFIG} says that {head} is not the embedding (tie_word_embeddings), but the "
                f"files have none; set tie_word_embeddings to true if it is, else files are missing"
            )
        return False, None
    if embedding not in tensors and head in tensors:
        tensors[embedding] = tensors.pop(head)
    if embedding in tensors and head in tensors:
        if not equal(tensors[embedding], tensors[head]):
            return False, (
                f"{directory}: {head} differs from {embedding}, although {CONFIG} ties them; "
                "both are loaded, untied"
            )
        del tensors[head]
    return True, None
