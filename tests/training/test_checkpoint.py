"""Checkpoints: what is kept, and failures that must not pass unnoticed."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError, StorageError
from im_jax.training import checkpoint
from im_jax.training.checkpoint import Checkpoints, _Save
from im_jax.training.saved import SavedModel
from im_jax.training.state import TrainState

CONFIG = {"loss.policy": "im", "model.vocab_size": None, "seed": 0, "optimizer.learning_rate": 1e-3}


def state_at(step: int) -> TrainState:
    return TrainState(jnp.int32(step), {"w": jnp.full((4, 2), float(step))}, (jnp.zeros(3), {}))


def test_latest_are_kept_and_the_newest_comes_back_whole(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig(every=2, keep=2)) as saved:
        assert saved.latest_step is None
        for step in range(1, 8):
            if saved.due(step):
                saved.save(step, state_at(step), {"next_index": step}, CONFIG)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [4, 6]
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        assert saved.latest_step == 6
        assert saved.saved_config() == CONFIG
        assert saved.saved_data() == {"next_index": 6}
        state = saved.restore(state_at(0))
    assert state.step == 6
    np.testing.assert_array_equal(state.params["w"], np.full((4, 2), 6.0))


def test_what_a_killed_run_was_writing_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
    unfinished = tmp_path / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert SavedModel(tmp_path).config() == CONFIG
    assert unfinished.exists(), "reading a run's model leaves the run alone"
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        assert saved.latest_step == 1
    assert not unfinished.exists()


def test_state_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
    other = state_at(0)._replace(params={"v": jnp.zeros((4, 2))})
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as saved,
        pytest.raises(CheckpointError, match=r"checkpoint 1 in .* cannot be read"),
    ):
        saved.restore(other)


class Failing:
    def result(self, timeout: float | None = None) -> Any:
        raise ValueError("RESOURCE_EXHAUSTED: x: No space left on device [os_error_code='28']\nmore")


def save_of(step: int) -> _Save:
    return _Save(step, state_at(step), {"next_index": step}, CONFIG)


def spend(save: _Save) -> None:
    """As the next step does with a state."""
    for x in jax.tree.leaves(save.state):
        x.delete()


NEVER = CheckpointConfig(every=10, retries=0)
FAILED = r"5 could not be saved: No space left on device"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_PAUSES", (0,))


@pytest.mark.parametrize("asks", ["check", "wait"])
def test_failed_save_is_told_as_soon_as_anybody_asks_with_what_is_safe(tmp_path: Path, asks: str) -> None:
    told = FAILED + "; checkpoint 1 is whole, and the same command goes on"
    with pytest.raises(StorageError, match=told), Checkpoints(tmp_path, NEVER) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
        saved.wait()
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        getattr(saved, asks)()
        pytest.fail("nobody noticed")


@pytest.mark.usefixtures("at_once")
def test_failed_save_is_made_good_by_the_next_state_that_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    with Checkpoints(tmp_path, CheckpointConfig(every=10), said.append) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
        saved.wait()
        assert not saved.due(6)
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
        spend(saved._saving[0])
        saved.check()
        assert not (tmp_path / "5.orbax-checkpoint-tmp").exists(), "what is left of it needs room"
        assert saved.latest_step == 1 and saved.due(6)
        saved.save(6, state_at(6), {"next_index": 6}, CONFIG)
        saved.wait()
        assert saved.latest_step == 6 and not saved.due(7)
    (line,) = said
    assert line.endswith("No space left on device; trying again in 0 s (1 of 3)")
    assert SavedModel(tmp_path).data() == {"next_index": 6}


def test_before_it_is_tried_again_there_is_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_PAUSES", (3600,))
    with Checkpoints(tmp_path, CheckpointConfig(every=10)) as saved:
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        saved.check()
        assert not saved.due(6) and saved.due(10)


@pytest.mark.usefixtures("at_once")
def test_the_last_save_of_a_run_is_tried_again_as_it_was(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        saved.wait()
        assert saved.latest_step == 5
    with pytest.raises(StorageError, match=FAILED), Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        spend(saved._saving[0])
        saved.wait()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("spent", [False, True])
def test_a_save_that_is_waited_for_to_have_room_is_made_good_as_any_other(
    tmp_path: Path, spent: bool
) -> None:
    with Checkpoints(tmp_path, CheckpointConfig(every=10)) as saved:
        assert not saved.make_room()
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
        assert saved.make_room() and saved.latest_step == 1
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
        if spent:
            spend(saved._saving[0])
        assert saved.make_room() and not (tmp_path / "5.orbax-checkpoint-tmp").exists()
        assert not saved.make_room() and saved.due(6)
        if spent:
            saved.wait()
            saved.save(6, state_at(6), {"next_index": 6}, CONFIG)
        saved.wait()
        assert saved.latest_step == (6 if spent else 5)
    with pytest.raises(StorageError, match=FAILED), Checkpoints(tmp_path, NEVER) as saved:
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        saved.make_room()


@pytest.mark.usefixtures("at_once")
def test_a_save_that_fails_every_time_ends_the_run(tmp_path: Path) -> None:
    tries = 0

    def fails(*_: Any, **__: Any) -> Any:
        nonlocal tries
        tries += 1
        raise OSError("UNAVAILABLE: the network is down")

    said: list[str] = []
    told = "7 could not be saved: .*the network is down; there is no checkpoint to go on from"
    with (
        pytest.raises(StorageError, match=told),
        pytest.MonkeyPatch.context() as patch,
        Checkpoints(tmp_path, CheckpointConfig(retries=2), said.append) as saved,
    ):
        patch.setattr(checkpoint.ocp.training.Checkpointer, "save_checkpointables_async", fails)
        saved.save(7, state_at(7), {}, CONFIG)
    assert tries == 3 and [line.rpartition("(")[2] for line in said] == ["1 of 2)", "2 of 2)"]


def test_a_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "run/checkpoints"
    directory.mkdir(parents=True)
    with pytest.raises(StorageError, match=FAILED), Checkpoints(directory, CheckpointConfig()) as saved:
        saved._saving = save_of(5), Failing()  # type: ignore[assignment]
        shutil.rmtree(tmp_path / "run")
        saved.check()
    assert not (tmp_path / "run").exists()


def test_one_before_the_newest_is_kept_whatever_is_asked_for(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig(keep=1)) as saved:
        for step in (1, 2, 3):
            saved.save(step, state_at(step), {"next_index": step}, CONFIG)
            saved.wait()
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 3]


def test_save_that_goes_on_is_not_waited_for(tmp_path: Path) -> None:
    class Going:
        def result(self, timeout: float | None = None) -> Any:
            if timeout == 0:
                raise TimeoutError
            return True

    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved._saving = save_of(5), Going()  # type: ignore[assignment]
        saved.check()
        assert saved._saving is not None, "it is asked again"
        saved.wait()
        assert saved._saving is None


def test_directory_with_the_name_of_another_step_is_not_believed(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(4, state_at(4), {"next_index": 4}, CONFIG)
    (tmp_path / "4").rename(tmp_path / "9")
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as saved,
        pytest.raises(CheckpointError, match=r"9 holds the state of step 4: its directory was renamed"),
    ):
        saved.restore(state_at(0))


def test_ruined_state_is_not_gone_on_from(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(
            1, state_at(1)._replace(params={"w": jnp.array([[1.0, jnp.nan]])}), {"next_index": 1}, CONFIG
        )
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as saved,
        pytest.raises(CheckpointError, match=r"1: w hold values that are not finite; delete the directory"),
    ):
        saved.restore(state_at(0)._replace(params={"w": jnp.zeros((1, 2))}))
