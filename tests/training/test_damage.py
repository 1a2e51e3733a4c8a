"""Damaged checkpoints: what changed is noticed and named, set aside, and the run goes on from the one before."""

import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import CheckpointConfig, Config
from im_jax.console import Console
from im_jax.errors import CheckpointError
from im_jax.models.files.layout import LayersOnDisk, by_path
from im_jax.opening import open_run
from im_jax.training import digest
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.digest import fingerprints
from im_jax.training.saved import DamagedCheckpoint, SavedModel
from im_jax.training.start import train
from im_jax.training.state import TrainState
from im_jax.training.verified import fingerprint_on_host, verified
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

CONFIG = {"loss.policy": "im", "model.vocab_size": None, "seed": 0, "optimizer.learning_rate": 1e-3}


def state_at(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    w, b = rng.normal(size=(64, 48)), rng.normal(size=31)
    moments = {"w": jnp.asarray(w**2, jnp.bfloat16), "b": jnp.asarray(b**2, jnp.float32)}
    return TrainState(jnp.int32(step), {"w": jnp.float32(w), "b": jnp.bfloat16(b)}, (moments,))


def restored(directory: Path) -> tuple[Any, list[str]]:
    """What is restored of the newest checkpoints, those that are damaged set aside; and what was said of these."""
    said = []
    with Checkpoints(directory, CheckpointConfig()) as saved:
        while saved.latest_step is not None:
            try:
                return (saved.saved_config(), saved.saved_data(), saved.restore(state_at(0))), said
            except DamagedCheckpoint as damage:
                said.append(damage.reason)
                assert saved.set_aside(damage).exists()
    return None, said


def assert_is_of(step: int, found: Any) -> None:
    assert found[:2] == (CONFIG, {"position": step, "fingerprint": f"f{step}"})
    for a, b in zip(*map(jax.tree.leaves, (found[2], state_at(step))), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two checkpoints."""
    directory = tmp_path_factory.mktemp("checkpoints")
    with Checkpoints(directory, CheckpointConfig()) as saved:
        for step in (1, 2):
            saved.save(step, state_at(step), {"position": step, "fingerprint": f"f{step}"}, CONFIG)
    return directory


def test_no_flipped_bit_in_any_file_gives_other_numbers(two: Path, tmp_path: Path) -> None:
    rng, flips, noticed = np.random.default_rng(0), 0, 0
    files = [path.relative_to(two) for path in sorted((two / "2").rglob("*")) if path.is_file()]
    for file in files:
        size = (two / file).stat().st_size
        for place in set(rng.integers(0, 8 * size, 2).tolist()) if size else ():
            copy = tmp_path / str(flips)
            shutil.copytree(two, copy)
            content = bytearray((copy / file).read_bytes())
            content[place // 8] ^= 1 << place % 8
            (copy / file).write_bytes(content)
            found, said = restored(copy)
            assert_is_of(1 if said else 2, found)
            flips, noticed = flips + 1, noticed + len(said)
            shutil.rmtree(copy)
    assert flips >= 60 and noticed > flips / 4, (flips, noticed)  # the others are in what nobody reads


def test_missing_and_cut_files_are_noticed(two: Path, tmp_path: Path) -> None:
    for part in ("params", "optimizer", "data", "config", "sums"):
        for number, harm in enumerate((shutil.rmtree, cut_largest)):
            copy = tmp_path / f"{part}-{number}"
            shutil.copytree(two, copy)
            harm(copy / "2" / part)
            found, said = restored(copy)
            assert said, (part, harm)
            assert_is_of(1, found)


def cut_largest(directory: Path) -> None:
    largest = max(
        (path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


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


def short_run() -> Config:
    config = tiny_config()
    config.train = dataclasses.replace(config.train, steps=8)
    config.optimizer = dataclasses.replace(config.optimizer, schedule="constant")
    return config


def test_a_run_goes_on_from_the_checkpoint_before_as_if_nothing_had_been(tmp_path: Path) -> None:
    config, stream = short_run(), io.StringIO()
    train(config, tmp_path / "whole", QUIET)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=6))
    train(short, tmp_path / "hurt", QUIET)
    cut_largest(tmp_path / "hurt/checkpoints/6/params")
    with pytest.raises(CheckpointError, match=r"checkpoint 6 in .* is damaged: its arrays cannot be read"):
        open_run(tmp_path / "hurt")
    summary = train(config, tmp_path / "hurt", Console(file=stream, width=1000))
    assert "checkpoint 6 is damaged: its arrays cannot be read" in stream.getvalue()
    assert "resuming from step 4" in stream.getvalue() and summary["resumed_from"] == 4
    assert (tmp_path / "hurt/checkpoints/damaged-6-1").is_dir()
    one, other = (by_path(open_run(tmp_path / name).params) for name in ("whole", "hurt"))
    for path, x in one.items():
        np.testing.assert_array_equal(x, other[path])
    steps = [
        entry["step"]
        for entry in map(json.loads, (tmp_path / "hurt/metrics.jsonl").read_text().splitlines())
        if entry["split"] == "train"
    ]
    assert steps == list(range(1, 9))


def test_a_run_without_a_whole_checkpoint_does_not_start_over(tmp_path: Path) -> None:
    config = short_run()
    config.train.steps = 2
    train(config, tmp_path, QUIET)
    cut_largest(tmp_path / "checkpoints/2/params")
    with pytest.raises(CheckpointError, match=r"every checkpoint of the run in .* is damaged"):
        train(config, tmp_path, QUIET)
