"""Parameters read from a checkpoint's files without its other layers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.errors import CheckpointError
from im_jax.models.files.layout import LayersOnDisk
from im_jax.training import stored_params
from im_jax.training.stored_params import read_param, storage_context

MATRIX = np.random.default_rng(0).normal(size=(3, 80, 40)).astype(np.float32)


def saved(path: Path, context: ocp.Context) -> Path:
    params = {"layers": {"mlp": {"up": MATRIX}}, "embedding": MATRIX[0], "norm": jnp.ones(3, jnp.bfloat16)}
    with context:
        ocp.save_checkpointables(path, {"params": jax.tree.map(jnp.asarray, params)})
    return path / "params"


def stored_piece(directory: Path, path: str) -> tuple[int, ...]:
    files = {"driver": "file", "path": f"{directory}/"}
    stored = {"driver": "auto", "kvstore": {"driver": "ocdbt", "base": files, "path": f"{path}/"}}
    return tuple(tensorstore.open(stored).result().chunk_layout.read_chunk.shape)


def check_reading(directory: Path) -> None:
    up, embedding = read_param(directory, "layers.mlp.up"), read_param(directory, "embedding")
    assert isinstance(up, LayersOnDisk) and isinstance(embedding, np.ndarray)
    for layer in (2, 0, 1):
        np.testing.assert_array_equal(up.read(layer), MATRIX[layer])
    np.testing.assert_array_equal(embedding, MATRIX[0])
    norm = read_param(directory, "norm")
    assert isinstance(norm, np.ndarray) and norm.dtype == jnp.bfloat16 and norm.tolist() == [1, 1, 1]


def test_parameters_are_stored_in_small_pieces_of_one_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_params, "_CHUNK_BYTES", 4096)
    directory = saved(tmp_path / "a 100% | new", storage_context())
    assert stored_piece(directory, "layers.mlp.up") == (1, 20, 40)
    assert stored_piece(directory, "embedding") == (20, 40)
    check_reading(directory)


def test_checkpoints_of_earlier_versions_have_all_layers_in_one_piece(tmp_path: Path) -> None:
    directory = saved(tmp_path / "before", ocp.Context())
    assert stored_piece(directory, "layers.mlp.up") == (3, 80, 40)
    check_reading(directory)


def test_what_is_not_whole_is_told_in_one_line(tmp_path: Path) -> None:
    directory = saved(tmp_path / "7", storage_context())
    with pytest.raises(
        CheckpointError, match=r"^\S+params: layers.mlp.down cannot be read: .* delete \S+7 to"
    ):
        read_param(directory, "layers.mlp.down")
    for file in directory.glob("**/d/*"):
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(CheckpointError, match="cannot be read"):
        check_reading(directory)
