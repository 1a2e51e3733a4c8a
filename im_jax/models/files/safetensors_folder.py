"""Folders with `model.safetensors`, or with the shards that `model.safetensors.index.json` lists."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import safetensors

from im_jax.errors import CheckpointError
from im_jax.models.files.json_keys import Keys, shown
from im_jax.models.files.safetensors_ranges import Ranges, tensors_in
from im_jax.models.files.tensors import Tensor
from im_jax.stores import StorePath

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
_OTHER_FORMATS: Final = ("*.bin", "*.pt", "*.pth", "*.msgpack", "*.h5", "*.gguf")


@contextlib.contextmanager
def open_tensors(directory: Path) -> Iterator[dict[str, Tensor]]:
    """All tensors of a folder by name, none of them read yet.

    Raises:
        CheckpointError: files are missing, cut or list a tensor twice.
    """
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Tensor] = {}
        ranges = Ranges()
        for path in _files(directory):
            for name, tensor in stack.enter_context(_open(path, ranges)).items():
                if name in tensors:
                    raise CheckpointError(f"{path}: {name} stands in {tensors[name].file.name} too; keep one")
                tensors[name] = tensor
        yield tensors


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[dict[str, Tensor]]:
    """All tensors of one file by name, none of them read yet.

    Raises:
        CheckpointError: it is missing or cut.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: missing")
    with _open(path, Ranges()) as tensors:
        yield tensors


def torch_advice(path: str | Path) -> str:
    """Where safetensors are found for a folder with torch's `.bin` files, and the command that makes them."""
    old, new = str(path), f"{path}-safetensors"
    return (
        "get a revision that has them (hf download NAME --revision refs/pr/NUMBER, if a pull request adds "
        "them), or make them, with torch and transformers installed: "
        'python -c "from transformers import AutoModelForCausalLM as Model, AutoTokenizer as Tokenizer; '
        f"Model.from_pretrained({old!r}, torch_dtype='auto').save_pretrained({new!r}); "
        f'Tokenizer.from_pretrained({old!r}).save_pretrained({new!r})"'
    )


def _files(directory: Path) -> list[Path]:
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    index = directory / INDEX
    if not index.is_file():
        others = sorted(path.name for kind in _OTHER_FORMATS for path in directory.glob(kind))
        if others:
            raise CheckpointError(
                f"{directory}: has {others[0]}, but weights are read from safetensors only; "
                f"{torch_advice(directory)}"
            )
        raise CheckpointError(f"{directory}: has neither {SINGLE} nor {INDEX}")
    weights = Keys.of_file(index).section("weight_map")
    if weights is None:
        raise CheckpointError(f"{index}: has no weight_map")
    for name, file in weights.values.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(
                f"{index}: weight_map.{name} is {shown(file)}; it must be the name of a file beside it"
            )
    return [directory / name for name in sorted(set(weights.values.values()))]


@contextlib.contextmanager
def _open(path: Path, ranges: Ranges) -> Iterator[dict[str, Tensor]]:
    """The tensors of a file, which are read while it is open; `ranges`: of a store, what was read."""
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(path, StorePath):
                tensors = tensors_in(path, ranges)
            else:
                handle: Any = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
                tensors = {name: _tensor(handle, name, path) for name in handle.keys()}  # noqa: SIM118 (no mapping)
        except FileNotFoundError:
            raise CheckpointError(f"{path}: missing; {INDEX} lists it") from None
        except safetensors.SafetensorError as error:
            raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
        yield tensors


def _tensor(handle: Any, name: str, path: Path) -> Tensor:
    part = handle.get_slice(name)
    return Tensor(tuple(part.get_shape()), part.get_dtype(), part.__getitem__, path)
