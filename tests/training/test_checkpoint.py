"""Checkpoints: what is kept, and failures that must not pass unnoticed."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError
from im_jax.training.checkpoint import Checkpoints, SavedModel
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


def test_failed_background_save_is_raised_at_the_end(tmp_path: Path) -> None:
    class Failing:
        def result(self) -> Any:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Checkpoints(tmp_path, CheckpointConfig()) as saved:
        saved._pending = Failing()  # type: ignore[assignment]
