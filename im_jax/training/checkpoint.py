"""Checkpoints of a run, by Orbax: state, position in the data and resolved configuration."""

import contextlib
import pathlib
import shutil
from typing import Any

import jax
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError
from im_jax.training.state import Params, TrainState

_UNFINISHED = ".orbax-checkpoint-tmp"
"""In the name of a checkpoint's directory until it is complete."""

_policies = ocp.training.save_decision_policies


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints in one directory, the latest few of them kept.

    Saving runs in the background. A save that failed raises at the next save or when this is closed,
    never later: a run must not go on for hours believing that it is safe.
    """

    def __init__(self, directory: pathlib.Path, config: CheckpointConfig) -> None:
        when: list[Any] = [_policies.PreemptionCheckpointingPolicy()]
        if config.every:
            when.append(_policies.FixedIntervalPolicy(config.every))
        _remove_unfinished(directory)
        self._checkpointer = ocp.training.Checkpointer(
            directory.resolve(),
            save_decision_policy=_policies.AnySavePolicy(when),
            preservation_policy=ocp.training.preservation_policies.LatestN(config.keep),
        )
        self._pending: ocp.AsyncResponse[bool] | None = None

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def due(self, step: int) -> bool:
        """Whether the run should save at this step: at its interval, or because it is being preempted."""
        return self._checkpointer.should_save(step)

    def save(self, step: int, state: TrainState, data: dict[str, Any], config: dict[str, Any]) -> None:
        """Start saving; arrays are copied to the host before this returns, so they may be donated."""
        self.wait()
        self._pending = self._checkpointer.save_checkpointables_async(
            step,
            # Parameters apart from the rest, so that a model can be used without its optimiser.
            {"params": state.params, "optimizer": _optimizer(state), "data": data, "config": config},
            force=True,
        )

    def wait(self) -> None:
        """Wait for a save in progress, and raise if it failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def saved_config(self) -> dict[str, Any]:
        """Flattened configuration in the newest checkpoint."""
        return _load(self._checkpointer, {"config": None})["config"]

    def saved_data(self) -> dict[str, Any]:
        """What the newest checkpoint knows of the data."""
        return _load(self._checkpointer, {"data": None})["data"]

    def restore(self, abstract_state: TrainState) -> TrainState:
        """Load the newest state straight into the shapes and shardings of `abstract_state`."""
        abstract = {"params": abstract_state.params, "optimizer": _optimizer(abstract_state)}
        loaded = _load(self._checkpointer, abstract)
        return TrainState(params=loaded["params"], **loaded["optimizer"])


class SavedModel:
    """The newest checkpoint of a run, for using its model. Changes nothing in the run's directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._checkpointer = ocp.training.Checkpointer(directory.resolve())
        if self._checkpointer.latest is None:
            raise CheckpointError(f"there is no complete checkpoint in {directory}")

    def config(self) -> dict[str, Any]:
        """Flattened configuration of the run."""
        return _load(self._checkpointer, {"config": None})["config"]

    def params(self, abstract_params: Params) -> Params:
        """The parameters, in the shapes and shardings of `abstract_params`."""
        return _load(self._checkpointer, {"params": abstract_params})["params"]


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Remove what a killed run was writing.

    Orbax offers to do so, but in a thread that it does not wait for: a run that ends early then fails.
    """
    if jax.process_index() == 0:
        for leftover in directory.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _load(checkpointer: ocp.training.Checkpointer, what: dict[str, Any]) -> dict[str, Any]:
    try:
        return checkpointer.load_checkpointables(None, what)
    except Exception as error:  # Orbax raises many kinds; each means that the files do not fit.
        reason = str(error).strip().partition("\n")[0][:300]
        raise CheckpointError(
            f"checkpoint {checkpointer.latest.step} in {checkpointer.directory} cannot be read for this "
            f"configuration ({type(error).__name__}: {reason}); use the configuration it was saved with, "
            "or, if its files are damaged, delete its directory to go on from the one before"
        ) from error


def _optimizer(state: TrainState) -> dict[str, Any]:
    """All of the state but the parameters."""
    return {"step": state.step, "opt_state": state.opt_state}
