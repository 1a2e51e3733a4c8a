"""Damaged checkpoints: what changed is noticed and named, set aside, and the run goes on from the one before."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError
from im_jax.models.files.layout import LayersOnDisk
from im_jax.training import digest
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.digest import fingerprints
from im_jax.training.saved import DamagedCheckpoint, SavedModel
from im_jax.training.state import TrainState
from im_jax.training.verified import fingerprint_on_host, verified

CONFIG = {"loss.policy": "im", "model.vocab_size": None, "seed": 0, "optimizer.learning_rate": 1e-3}


def state_at(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    w, b = rng.normal(size=(64, 48)), rng.normal(size=31)
    moments = {"w": jnp.asarray(w**2, jnp.bfloat16), "b": jnp.asarray(b**2, jnp.float32)}
    return TrainState(jnp.int32(step), {"w": jnp.float32(w), "b": jnp.bfloat16(b)}, (moments,))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two checkpoints."""
    directory = tmp_path_factory.mktemp("checkpoints")
    with Checkpoints(directory, CheckpointConfig()) as saved:
        for step in (1, 2):
            saved.save(step, state_at(step), {"position": step, "fingerprint": f"f{step}"}, CONFIG)
    return directory


def test_what_fits_another_model_is_not_taken_for_damaged(two: Path) -> None:
    other = state_at(0)._replace(params={"w": jnp.zeros((64, 49)), "b": jnp.zeros(31, jnp.bfloat16)})
    with (
        Checkpoints(two, CheckpointConfig()) as saved,
        pytest.raises(
            CheckpointError, match=r"params\.w is float32\[64, 48\] in it, and float32\[64, 49\] here"
        ) as caught,
    ):
        saved.restore(other)
    assert not isinstance(caught.value, DamagedCheckpoint)


def test_fingerprints_tell_every_changed_bit_and_exchanged_places() -> None:
    for dtype in ("float32", "bfloat16", "int32", "uint8"):
        x = np.asarray(jnp.asarray(np.random.default_rng(0).integers(0, 100, (7, 9)), dtype))
        before = fingerprints({"x": jnp.asarray(x)})
        for place in np.random.default_rng(1).integers(0, 8 * x.nbytes, 30).tolist():
            changed = bytearray(x.tobytes())
            changed[place // 8] ^= 1 << place % 8
            other = np.frombuffer(bytes(changed), x.dtype).reshape(x.shape)
            assert fingerprints({"x": jnp.asarray(other)}) != before
        assert fingerprints({"x": jnp.asarray(x[::-1].copy())}) != before


@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (4, 5, 6), (2, 3, 4, 5)])
def test_a_fingerprint_found_on_the_host_by_layers_is_that_of_the_devices(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype, at_once in [("float32", 2**20), ("bfloat16", 8), ("uint8", 40), ("float32", 1)]:
        monkeypatch.setattr(digest, "_AT_ONCE", at_once)
        x = np.asarray(jnp.asarray(np.random.default_rng(0).integers(0, 100, shape), dtype))
        expected = fingerprints({"x": jnp.asarray(x)})["x"]
        assert fingerprint_on_host(x, 0) == expected
        if shape[1:]:
            assert fingerprint_on_host(LayersOnDisk(lambda layer, x=x: x[layer]), len(x)) == expected


def test_a_changed_value_is_noticed_where_parameters_are_read_one_by_one(two: Path, tmp_path: Path) -> None:
    whole = SavedModel(two)
    np.testing.assert_array_equal(whole.param("w"), state_at(2).params["w"])
    shutil.copytree(two, tmp_path / "changed")
    # Sums of another state, written by the same means: the arrays are whole, and others than they say.
    other = state_at(2)._replace(params={**state_at(2).params, "w": state_at(1).params["w"]})
    with Checkpoints(tmp_path / "changed", CheckpointConfig()) as saved:
        saved.save(3, other, {}, CONFIG)
    for part in ("data", "config", "sums"):
        shutil.rmtree(tmp_path / "changed/3" / part)
        shutil.copytree(two / "2" / part, tmp_path / "changed/3" / part)
    hurt = SavedModel(tmp_path / "changed")
    np.testing.assert_array_equal(hurt.param("b"), state_at(2).params["b"])
    with pytest.raises(
        DamagedCheckpoint, match=r"checkpoint 3 in .* is damaged: params\.w are not what was written"
    ):
        hurt.param("w")


def test_layers_are_compared_once_the_last_is_read_in_any_order_and_when_read_again() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    written = fingerprints({"x": jnp.asarray(x)})["x"]

    def read(layers: np.ndarray, order: tuple[int, ...]) -> None:
        found = verified(LayersOnDisk(lambda layer: layers[layer]), written, lambda: ValueError("changed"))
        assert isinstance(found, LayersOnDisk)
        for layer in order:
            np.testing.assert_array_equal(found.read(layer), layers[layer])

    read(x, (0, 1, 2, 0)), read(x, (2, 0, 0, 1))
    for layer in range(3):
        changed = x.copy()
        changed.view(np.uint32)[layer, 1, 2] ^= 1
        with pytest.raises(ValueError, match="changed"):
            read(changed, (0, 2, 1))
    with pytest.raises(ValueError, match="changed"):
        read(x[:, :, ::-1].copy(), (0, 1, 2))
    parts = iter([x[0], x[1], x[1] + 1])
    found = verified(LayersOnDisk(lambda _: next(parts)), written, lambda: ValueError("changed"))
    assert isinstance(found, LayersOnDisk)
    found.read(0), found.read(1)
    with pytest.raises(ValueError, match="changed"):
        found.read(1)
