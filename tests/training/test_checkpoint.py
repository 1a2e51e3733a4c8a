"""Checkpoints: what is kept, and failures that must not pass unnoticed."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError, StorageError
from im_jax.training.checkpoint import Checkpoints
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


@pytest.mark.parametrize("asks", ["check", "wait"])
def test_failed_save_is_told_as_soon_as_anybody_asks_with_what_is_safe(tmp_path: Path, asks: str) -> None:
    class Failing:
        def result(self, timeout: float | None = None) -> Any:
            raise ValueError("RESOURCE_EXHAUSTED: x: No space left on device [os_error_code='28']\nmore")

    told = (
        r"5 could not be saved: No space left on device; checkpoint 1 is whole, and the same command goes on"
    )
    with pytest.raises(StorageError, match=told), Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
        saved.wait()
        saved._saving = 5, Failing()  # type: ignore[assignment]
        getattr(saved, asks)()
        pytest.fail("nobody noticed")


def test_save_that_goes_on_is_not_waited_for(tmp_path: Path) -> None:
    class Going:
        def result(self, timeout: float | None = None) -> Any:
            if timeout == 0:
                raise TimeoutError
            return True

    with Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved._saving = 5, Going()  # type: ignore[assignment]
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
