"""Where a run begins: at its first step, or behind the newest checkpoint that is as it was written."""

import pathlib
from typing import Any, NamedTuple

import grain

from im_jax.console import Console
from im_jax.data.pipeline import NumberedBatch
from im_jax.errors import CheckpointError
from im_jax.events import Happened
from im_jax.recorder import Recorder
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.resume import check_nothing_lost, check_resumable, check_same_base
from im_jax.training.run import Run
from im_jax.training.saved import DamagedCheckpoint
from im_jax.training.state import TrainState


class Beginning(NamedTuple):
    """What the first step of an attempt starts from."""

    step: int
    """The last step that was taken before; 0: none."""
    state: TrainState
    batches: grain.DatasetIterator[NumberedBatch]
    """Those of the steps that follow."""
    data: dict[str, Any]
    """What the checkpoint knows beside the state; empty: there is none."""


def begin(
    run: Run, saved: Checkpoints, workdir: pathlib.Path, console: Console, events: Recorder
) -> Beginning:
    """The state to go on from, that of the newest checkpoint if there is one.

    Raises:
        CheckpointError: every checkpoint is damaged, or what was saved is gone.
        ConfigError: it is another run.
    """
    batches, state = run.numbered_batches(), _restored(run, saved, workdir, console, events)
    if state is None:
        check_nothing_lost(workdir, run.config, console)
        return Beginning(0, run.first_state(), batches, {})
    data = saved.saved_data()
    batches.set_state(data["position"])
    return Beginning(int(state.step), state, batches, data)


def _restored(
    run: Run, saved: Checkpoints, workdir: pathlib.Path, console: Console, events: Recorder
) -> TrainState | None:
    """The newest state that is as it was written, those that are not set aside; None if nothing was saved.

    Raises:
        CheckpointError: every checkpoint is damaged.
        ConfigError: it is another run.
    """
    damaged = None
    while saved.latest_step is not None:
        try:
            check_resumable(saved, run.config, run.data, run.last_step, workdir, console)
            check_same_base(saved.saved_data(), run.base, run.config.model.path)
            with events.during(Happened.RESTORE, saved.latest_step):
                state = run.restored_state(saved)
            console.print(f"resuming from step {saved.latest_step} in {workdir}")
            return state
        except DamagedCheckpoint as error:
            damaged, aside = error, saved.set_aside(error)
            console.print(f"checkpoint {error.step} is damaged: {error.reason}; it was moved to {aside}")
    if damaged:
        raise CheckpointError(
            f"every checkpoint of the run in {workdir} is damaged, the oldest by this: {damaged.reason}; "
            "choose another --workdir for a new run"
        )
    return None
