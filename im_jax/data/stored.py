"""An encoded data set as a folder of arrays, which are mapped and not read: opening takes no memory."""

import dataclasses
import pathlib
from typing import Final

import numpy as np

from im_jax.data.dataset import DIGESTS, MEASURES, EncodedDataset
from im_jax.data.ids import Ids
from im_jax.errors import DataError
from im_jax.token_classes import NUM_CLASSES

_FLAT: Final = ("tokens", "classes")
_SMALL: Final = 1 << 16
"""Bytes below which a file is read: an empty array cannot be mapped, and a small one need not be."""


def save(dataset: EncodedDataset, folder: pathlib.Path) -> None:
    """Write the arrays of a data set, one NumPy file each; of a part of one, only what it holds.

    Args:
        dataset: examples; those taken from a larger set are written without the rest of it.
        folder: made if need be. Files that are there already are written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = int(dataset.lengths.sum(dtype=np.int64))
    for name in _FLAT:
        _write_flat(dataset, getattr(dataset, name), size, folder / f"{name}.npy")
    starts = np.cumsum(dataset.lengths, dtype=np.int64) - dataset.lengths
    for field in dataclasses.fields(dataset):
        if field.name not in ("ids", "starts", *_FLAT):
            np.save(folder / f"{field.name}.npy", getattr(dataset, field.name))
    np.save(folder / "starts.npy", starts)
    for field in dataclasses.fields(dataset.ids):
        np.save(folder / f"ids.{field.name}.npy", getattr(dataset.ids, field.name))


def _write_flat(dataset: EncodedDataset, flat: np.ndarray, size: int, path: pathlib.Path) -> None:
    """One flat array without what lies between the examples, never held twice."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(flat.dtype), "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        for run in dataset.runs():
            flat[run].tofile(file)


def open_dataset(folder: pathlib.Path) -> EncodedDataset:
    """The data set that `save` wrote, its arrays mapped from the files.

    Raises:
        DataError: a file is missing, damaged, does not fit the others, or counts other classes.
    """
    ids = {field.name: _mapped(folder / f"ids.{field.name}.npy") for field in dataclasses.fields(Ids)}
    names = [field.name for field in dataclasses.fields(EncodedDataset) if field.name != "ids"]
    arrays = {name: _mapped(folder / f"{name}.npy") for name in names}
    names = ["starts", "lengths", "histograms", "weight_starts", *MEASURES, *DIGESTS]
    by_example = [arrays[name] for name in names]
    if len({len(a) for a in (*by_example, ids["numbers"])}) > 1:
        raise DataError(f"{folder}: its arrays are of different numbers of examples; write it anew")
    if arrays["histograms"].shape[1:] != (NUM_CLASSES,):
        raise DataError(f"{folder}: is of a version with other token classes; write it anew")
    return EncodedDataset(ids=Ids(**ids), **arrays)


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r" if path.stat().st_size > _SMALL else None, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path.parent}: holds no encoded data set: {path.name} is missing") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: is damaged: {error}; write it anew") from None
