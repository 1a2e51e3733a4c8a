"""Parameters of a checkpoint read from its files, a layer at a time, by whichever process asks.

Orbax restores whole arrays, a stacked matrix with all of its layers. Here TensorStore, on which it is built,
reads parts of the same files: an array for each parameter, by its path in the tree.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
import tensorstore
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.errors import CheckpointError
from im_jax.models.files.layout import LayersOnDisk
from im_jax.stores.places import absolute, bucket_and_name, is_remote

_CHUNK_BYTES: Final = 2**23
"""Most of what is stored, and so read, as one piece."""
_LAYERS: Final = "layers"


def storage_context() -> ocp.Context:
    """Settings of Orbax with which parameters are stored in small pieces, each of one layer."""
    context = ocp.Context()
    context.array.saving.scoped_storage_options_creator = _storage_options
    return context


def _storage_options(path: tuple[Any, ...], _: Any) -> Any:
    """How a leaf of a checkpoint's trees is stored; None: as Orbax does by itself."""
    top = jax.tree_util.keystr(path[:1], simple=True)
    if top in ("step", "opt_state"):  # only ever read whole
        return None
    return ocp.options.ArrayOptions.Saving.StorageOptions(
        chunk_byte_size=_CHUNK_BYTES, shard_axes=(0,) if top == _LAYERS else None
    )


def read_param(directory: Path, path: str) -> np.ndarray | LayersOnDisk:
    """A parameter, whose layers are read when they are asked for.

    Args:
        directory: of the parameters' tree in a checkpoint.
        path: of the parameter in the tree, such as `layers.mlp.up`.

    Raises:
        CheckpointError: it is not there, or its files are damaged; also when a layer is asked for.
    """

    def checked(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # TensorStore raises many kinds; each means that the files are not whole.
            reason = str(error).strip().partition(" [")[0][:300]
            raise CheckpointError(
                f"{directory}: {path} cannot be read: {reason}; the files are damaged: delete "
                f"{directory.parent} to use the checkpoint before it"
            ) from error

    files = {"driver": "file", "path": f"{absolute(directory)}/"}
    if is_remote(directory):
        bucket, name = bucket_and_name(directory)
        files = {"driver": "gcs", "bucket": bucket, "path": f"{name}/"}
    stored = {"driver": "auto", "kvstore": {"driver": "ocdbt", "base": files, "path": f"{path}/"}}
    array = checked(lambda: tensorstore.open(stored, read=True).result())
    if not path.startswith(f"{_LAYERS}."):
        return checked(lambda: _whole(array))
    together = _piece(array)[0]

    def layers_from(first: int) -> np.ndarray:
        some = array[first : min(first + together, array.shape[0])]
        return checked(lambda: _whole(some[tensorstore.d[0].translate_to[0]]))

    if together == 1:
        return LayersOnDisk(lambda layer: layers_from(layer)[0])
    # Checkpoints of earlier versions have several layers in one piece, which is not read for each of them.
    kept = functools.lru_cache(maxsize=1)(layers_from)
    return LayersOnDisk(lambda layer: kept(layer - layer % together)[layer % together])


def _whole(array: Any) -> np.ndarray:
    """All of an array, piece by piece: TensorStore has each several times in memory while it is read."""
    whole = np.empty(array.shape, array.dtype.numpy_dtype)
    piece = _piece(array)
    starts = (range(0, size, step) for size, step in zip(array.shape, piece, strict=True))
    for start in itertools.product(*starts):
        ends = np.minimum(np.add(start, piece), array.shape)
        here = tuple(map(slice, start, ends))
        whole[here] = array[here].read().result()
    return whole


def _piece(array: Any) -> tuple[int, ...]:
    return tuple(array.chunk_layout.read_chunk.shape)
