"""Checkpoints of a run, by Orbax: state, position in the data and resolved configuration."""

import contextlib
import itertools
import logging
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import jax
from jax.experimental import multihost_utils
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.config import CheckpointConfig
from im_jax.errors import CheckpointError, StorageError
from im_jax.files import writing
from im_jax.training.health import not_finite
from im_jax.training.saved import DamagedCheckpoint, Told, arrays_of, items_of, read_arrays, read_told
from im_jax.training.state import TrainState
from im_jax.training.stored_params import storage_context

_UNFINISHED = ".orbax-checkpoint-tmp"
"""In the name of a checkpoint's directory until it is complete."""

_LOGS: Final = (logging.getLogger("absl"), logging.getLogger("asyncio"))
"""Where Orbax, and the tasks that it leaves behind, write what they also raise."""

_policies = ocp.training.save_decision_policies


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints in one directory, the latest few of them kept.

    Saving runs in the background. A save that failed is an error as soon as `check` asks, and at the latest
    at the next save or when this is closed: a run must not go on for hours believing that it is safe.
    Whatever could not be written within this context, the error says which checkpoint is safe.
    """

    def __init__(self, directory: pathlib.Path, config: CheckpointConfig) -> None:
        when: list[Any] = [_policies.FixedIntervalPolicy(config.every)] if config.every else []
        _remove_unfinished(directory)
        self._directory = directory
        with writing(directory):
            self._checkpointer = ocp.training.Checkpointer(
                directory.resolve(),
                context=storage_context(),
                save_decision_policy=_policies.AnySavePolicy(when),
                preservation_policy=ocp.training.preservation_policies.LatestN(config.keep),
            )
        self._saving: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._read: tuple[int, Told] | None = None
        self._undo_quiet = _quiet_threads()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if isinstance(error, StorageError):
                raise StorageError(f"{error}; {self.safe()}") from error
            try:
                self.wait()
            except StorageError as failed:
                raise StorageError(f"{failed}; {self.safe()}") from failed
            self._undo_quiet()
        finally:
            with contextlib.suppress(Exception):  # of a save that failed, told above
                self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def due(self, step: int) -> bool:
        """Whether the run should save at this step because its interval has passed."""
        return self._checkpointer.should_save(step)

    def save(self, step: int, state: TrainState, data: dict[str, Any], config: dict[str, Any]) -> None:
        """Start saving; arrays are copied to the host before this returns, so they may be donated.

        Raises:
            StorageError: this save, or one before that was not asked about, could not be written.
        """
        self.wait()
        with _told_in_one_line(self._directory / str(step)):
            response = self._checkpointer.save_checkpointables_async(
                step,
                items_of(state, data, config),
                force=True,
            )
        if response is not None:
            self._saving = step, response

    def check(self) -> None:
        """Notice a save that has failed already, without waiting for one that goes on.

        Raises:
            StorageError: it could not be written.
        """
        with contextlib.suppress(TimeoutError):
            self._finish(timeout=0)

    def wait(self) -> None:
        """Wait for a save that goes on.

        Raises:
            StorageError: it could not be written.
        """
        self._finish(timeout=None)

    def _finish(self, timeout: float | None) -> None:
        if self._saving is None:
            return
        (step, response), self._saving = self._saving, None
        try:
            with _told_in_one_line(self._directory / str(step)):
                response.result(timeout)
        except TimeoutError:
            self._saving = step, response
            raise

    def safe(self) -> str:
        """What there is to go on from after a failure, for its message."""
        steps = [int(path.name) for path in self._directory.glob("*") if path.name.isdecimal()]
        if not steps:
            return "there is no checkpoint to go on from"
        return f"checkpoint {max(steps)} is whole, and the same command goes on from there"

    def saved_config(self) -> dict[str, Any]:
        """Flattened configuration in the newest checkpoint. Raises as `read_told`."""
        return self._told.config

    def saved_data(self) -> dict[str, Any]:
        """What the newest checkpoint knows of the data. Raises as `read_told`."""
        return self._told.data

    def restore(self, abstract_state: TrainState) -> TrainState:
        """Load the newest state straight into the shapes and shardings of `abstract_state`.

        Raises:
            DamagedCheckpoint: it is not what was written.
            CheckpointError: it does not fit, is of another step than its directory's name, or holds numbers
                that are not finite.
        """
        assert self.latest_step is not None
        loaded = read_arrays(self._checkpointer, self.latest_step, arrays_of(abstract_state), self._told)
        state = TrainState(params=loaded["params"], **loaded["optimizer"])
        where = self._directory / str(self.latest_step)
        if int(state.step) != self.latest_step:
            raise CheckpointError(
                f"{where} holds the state of step {int(state.step)}: its directory was renamed; give it its "
                "name back"
            )
        if bad := not_finite(state.params):
            raise CheckpointError(
                f"{where}: {bad} hold values that are not finite; delete the directory to go on from the "
                "checkpoint before it"
            )
        return state

    def set_aside(self, damage: DamagedCheckpoint) -> pathlib.Path:
        """Rename a damaged checkpoint, so that the newest is the one before. On all processes.

        Returns:
            Where it is now.
        """
        aside = next(
            path
            for number in itertools.count(1)
            if not (path := self._directory / f"damaged-{damage.step}-{number}").exists()
        )
        multihost_utils.sync_global_devices("damaged")  # all have found a name before it is taken
        with writing(aside):
            if jax.process_index() == 0:
                (self._directory / str(damage.step)).rename(aside)
        multihost_utils.sync_global_devices("set aside")
        self._checkpointer.reload()
        return aside

    @property
    def _told(self) -> Told:
        assert self.latest_step is not None
        if self._read is None or self._read[0] != self.latest_step:
            self._read = self.latest_step, read_told(self._checkpointer, self.latest_step)
        return self._read[1]


@contextlib.contextmanager
def _told_in_one_line(path: pathlib.Path) -> Iterator[None]:
    """Turn the many exceptions of Orbax and TensorStore into one line."""
    try:
        yield
    except TimeoutError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        system = re.search(r"[^:]+(?= \[os_error_code)", reason)  # TensorStore quotes the system's words
        told = system[0].strip() if system else f"{type(error).__name__}: {reason[:200]}"
        raise StorageError(f"{path} could not be saved: {told}") from error


def _quiet_threads() -> Callable[[], None]:
    """Let threads of Orbax and TensorStore not print how a save failed: it is raised, and told in one line.

    Returns:
        What undoes it. Not for use after a failure: TensorStore's threads go on as long as the process lives.
    """
    outer = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # TensorStore names no object, as nobody else does: writes that end when nobody waits any more.
        if unraisable.object is not None or unraisable.err_msg is not None:
            outer(unraisable)

    def undo() -> None:
        sys.unraisablehook = outer
        for log in _LOGS:
            log.removeFilter(_not_of_a_failed_save)

    sys.unraisablehook = hook
    for log in _LOGS:
        log.addFilter(_not_of_a_failed_save)
    return undo


def _not_of_a_failed_save(record: logging.LogRecord) -> bool:
    """Whether a log record is no traceback of Orbax or of a task of its."""
    return not (record.exc_info and ("orbax" in record.pathname or record.name == "asyncio"))


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Remove what a killed run was writing.

    Orbax offers to do so, but in a thread that it does not wait for: a run that ends early then fails.
    """
    if jax.process_index() == 0:
        for leftover in directory.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
