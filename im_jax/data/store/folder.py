"""An encoded data set as a folder of arrays, which are mapped and not read: opening takes no memory.

    manifest.json    type and shape of each array, facts about the set, and a digest of both
    tokens.bin ...   the values, little end first, and nothing else

The manifest is written last and says how many bytes there are, so that what was cut off is told at once.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import numpy as np

from im_jax.data.dataset import EncodedDataset
from im_jax.data.store.joining import Joiner, from_arrays
from im_jax.errors import DataError
from im_jax.files import writing

MANIFEST: Final = "manifest.json"
_SMALL: Final = 1 << 16
"""Bytes below which a file is read: an empty one cannot be mapped, and a small one need not be."""


class FolderWriter:
    """Writes a data set into a new folder, as it comes. Raises `StorageError` where that cannot be done."""

    def __init__(self, folder: pathlib.Path) -> None:
        """`folder` is made, and must not be there."""
        self.folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[str, list[int]]] = {}
        self._joiner = Joiner(self._append)
        with writing(folder):
            folder.mkdir(parents=True)

    def add(self, part: EncodedDataset) -> None:
        """See `Joiner.add`."""
        with writing(self.folder):
            self._joiner.add(part)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write everything out, and the manifest with some facts in it, so that no crash can undo it."""
        with writing(self.folder):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
                file.close()
            arrays = {name: {"dtype": kind, "shape": shape} for name, (kind, shape) in self._shapes.items()}
            content = json.dumps({"arrays": arrays, "facts": facts})
            with (self.folder / MANIFEST).open("w", encoding="utf-8") as manifest:
                json.dump({"sha256": _digest(content), "content": content}, manifest)
                manifest.flush()
                os.fsync(manifest.fileno())
            sync_folder(self.folder)

    def close(self) -> None:
        """Let go of the files, written or not."""
        for file in self._files.values():
            file.close()

    def _append(self, name: str, values: np.ndarray) -> None:
        if name not in self._files:
            self._files[name] = (self.folder / f"{name}.bin").open("xb")
            self._shapes[name] = (values.dtype.newbyteorder("<").str, [0, *values.shape[1:]])
        kind, shape = self._shapes[name]
        self._files[name].write(np.ascontiguousarray(values, kind).data)
        shape[0] += len(values)


def sync_folder(folder: pathlib.Path) -> None:
    """See that the names in a folder outlive a crash, where its file system can promise that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems know no such thing
        pass
    finally:
        os.close(handle)


def open_folder(folder: pathlib.Path) -> tuple[EncodedDataset, dict[str, Any]]:
    """The data set that was written to a folder, its arrays mapped, and the facts of its manifest.

    Raises:
        FileNotFoundError: there is no such folder, or it has no manifest.
        DataError: it is damaged.
    """
    text = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace")
    try:
        content = _checked(text)
        arrays = {
            name: _mapped(folder / f"{name}.bin", np.dtype(told["dtype"]), tuple(told["shape"]))
            for name, told in content["arrays"].items()
        }
        return from_arrays(arrays), content["facts"]
    except DataError as error:
        raise DataError(f"{folder} is damaged: {error}") from None


def _checked(text: str) -> dict[str, Any]:
    """What a manifest says, if it is what was written."""
    try:
        told = json.loads(text)
        content: str = told["content"]
        if _digest(content) == told["sha256"]:
            found: dict[str, Any] = json.loads(content)
            return found
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise DataError(f"{MANIFEST} is not what was written")


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _mapped(path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    try:
        found = path.stat().st_size
        if found != size:
            raise DataError(f"{path.name} has {found} bytes and should have {size}")
        if size > _SMALL:
            return np.memmap(path, dtype, "r", shape=shape)
        return np.frombuffer(path.read_bytes(), dtype).reshape(shape)
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
