"""Checkpoints of a run, by Orbax: state, position in the data and resolved configuration."""

import contextlib
import itertools
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
from jax.experimental import multihost_utils
from orbax.checkpoint._src.path.atomicity_types import COMMIT_SUCCESS_FILE
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.config import CheckpointConfig
from im_jax.errors import AbandonedError, CheckpointError, StorageError
from im_jax.files import writing
from im_jax.stores.places import absolute, is_remote
from im_jax.training.health import not_finite
from im_jax.training.save_errors import quiet_threads, told_in_one_line
from im_jax.training.saved import (
    OPTIMIZER,
    PARAMS,
    DamagedCheckpoint,
    Told,
    arrays_of,
    items_of,
    read_arrays,
    read_told,
)
from im_jax.training.state import TrainState
from im_jax.training.stored_params import storage_context

_UNFINISHED = ".orbax-checkpoint-tmp"
"""In the name of a checkpoint's directory until it is complete."""

NOTHING_SAVED: Final = "there is no checkpoint to go on from"
"""How a run ends whose saves have all failed."""

_PAUSES: Final = (1, 5, 25)
"""Seconds before a save that failed is tried again, the last of them from then on."""

_LOOK_SECONDS: Final = 5.0
"""How often processes that save together look whether they can write at all. One that cannot fails in a
thread of Orbax, and then each waits for the others for twenty minutes."""

_policies = ocp.training.save_decision_policies


class _Save(NamedTuple):
    """What was to be saved."""

    step: int
    state: TrainState
    data: dict[str, Any]
    config: dict[str, Any]

    @property
    def is_there(self) -> bool:
        """Whether no later step has spent the state."""
        arrays = (x for x in jax.tree.leaves(self.state) if isinstance(x, jax.Array))
        return not any(x.is_deleted() for x in arrays)


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints in one directory, the latest few of them kept.

    Saving runs in the background. A save that failed is noticed as soon as `check` asks, and at the latest
    at the next save or when this is closed: a run must not go on for hours believing that it is safe. What
    is left of it is removed, and it is tried again some times: with a state that is there, which after a
    step is that of a later one, so `due` asks for it. Then it is an error.
    Whatever could not be written within this context, the error says which checkpoint is safe.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        config: CheckpointConfig,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`say` shows a line to the user: of a save that failed and is tried again."""
        self._config, self._say = config, say
        _remove_unfinished(directory)
        self._directory = directory
        self._checkpointer = self._open()
        self._saving: tuple[_Save, ocp.AsyncResponse[bool]] | None = None
        self._failed_for_room: tuple[StorageError, _Save] | None = None
        self._failures, self._again_at = 0, 0.0
        self._looked_at, self._is_stuck = time.monotonic(), False
        self._read: tuple[int, Told] | None = None
        self._undo_quiet = quiet_threads()

    def _open(self) -> ocp.training.Checkpointer:
        every = self._config.every
        when: list[Any] = [_policies.FixedIntervalPolicy(every)] if every else []
        # Two at least: whatever happens to the newest one, there is one before.
        keep = ocp.training.preservation_policies.LatestN(max(2, self._config.keep))
        with writing(self._directory):
            return ocp.training.Checkpointer(
                absolute(self._directory),
                context=storage_context(),
                save_decision_policy=_policies.AnySavePolicy(when),
                preservation_policy=keep,
            )

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if isinstance(error, StorageError):
                raise AbandonedError(f"{error}; {self.safe()}") from error
            try:
                self.wait()
            except StorageError as failed:
                raise AbandonedError(f"{failed}; {self.safe()}") from failed
            self._undo_quiet()
        finally:
            if not self._is_stuck:  # else it would wait for the other processes, which wait as well
                with contextlib.suppress(Exception):  # of a save that failed, told above
                    self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def due(self, step: int) -> bool:
        """Whether the run should save at this step: its interval has passed, or a save is to be made good."""
        overdue = self._failures and self._saving is None and time.monotonic() >= self._again_at
        return bool(overdue) or self._checkpointer.should_save(step)

    def save(self, step: int, state: TrainState, data: dict[str, Any], config: dict[str, Any]) -> None:
        """Start saving; arrays are copied to the host before this returns, so they may be donated.

        Raises:
            StorageError: this save, or one before that was not asked about, could not be written, and
                neither could those after it.
        """
        self._finish(timeout=None)
        self._start(_Save(step, state, data, config))

    def check(self) -> None:
        """Notice a save that has failed already, without waiting for one that goes on.

        Raises:
            StorageError: it could not be written, as often as it was tried.
        """
        with contextlib.suppress(TimeoutError):
            self._finish(timeout=0)

    def wait(self) -> None:
        """Wait for a save that goes on, until it is written.

        Raises:
            StorageError: it could not be written, as often as it was tried, or failed and its state is gone.
        """
        failed, before = self._finish(timeout=None), self._failed_for_room
        if failed is None and before is not None and before[1].is_there:  # else a later step makes it good
            failed = before
        while failed is not None:
            error, save = failed
            if not save.is_there:
                raise error
            time.sleep(max(0.0, self._again_at - time.monotonic()))
            self._start(save)
            failed = self._finish(timeout=None)

    def make_room(self) -> bool:
        """Wait for a save that goes on, to write what it has left no room for.

        Returns:
            Whether there was one: it has given its room back if it failed, else an older one may be gone.

        Raises:
            StorageError: it could not be written, as often as it was tried.
        """
        if self._saving is None:
            return False
        self._failed_for_room = self._finish(timeout=None)
        return True

    def _start(self, save: _Save) -> None:
        """Start saving, as often as it takes."""
        while True:
            try:
                with told_in_one_line(self._directory / str(save.step)):
                    response = self._checkpointer.save_checkpointables_async(
                        save.step, items_of(save.state, save.data, save.config), force=True
                    )
            except StorageError as error:
                self._failed(error)
                time.sleep(max(0.0, self._again_at - time.monotonic()))
                continue
            if response is not None:
                self._saving = save, response
            self._failed_for_room = None
            return

    def _finish(self, timeout: float | None) -> tuple[StorageError, _Save] | None:
        """Wait so long for a save that goes on.

        Returns:
            If it failed and is to be tried again: why, and what it was.

        Raises:
            TimeoutError: it goes on.
            StorageError: it could not be written, as often as it was tried.
        """
        if self._saving is None:
            return None
        (save, response), self._saving = self._saving, None
        try:
            with told_in_one_line(self._directory / str(save.step)):
                self._result(response, timeout)
        except TimeoutError:
            self._saving = save, response
            raise
        except StorageError as error:
            self._failed(error)
            return error, save
        self._failures = 0
        return None

    def _result(self, response: ocp.AsyncResponse[bool], timeout: float | None) -> None:
        """Wait for a save, of several processes only as long as this one can write."""
        if jax.process_count() == 1 or is_remote(self._directory):
            response.result(timeout)
            return
        while True:
            try:
                response.result(_LOOK_SECONDS if timeout is None else timeout)
                return
            except TimeoutError:
                self._check_writable()
                if timeout is not None:
                    raise

    def _check_writable(self) -> None:
        """Raises OSError if nothing can be written beside the checkpoints any more; looks now and then."""
        if time.monotonic() < self._looked_at + _LOOK_SECONDS:
            return
        probe = self._directory / f".written-by-{jax.process_index()}"
        try:
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError:
            self._is_stuck = True
            raise
        self._looked_at = time.monotonic()

    def _failed(self, error: StorageError) -> None:
        """Count a failure, and clear the way for the next try.

        Raises:
            StorageError: there is none. Processes do not agree on one: in a cluster, who starts the run
                again begins at the checkpoint before.
        """
        self._failures += 1
        if self._failures > self._config.retries or jax.process_count() > 1:
            raise error
        is_gone = not is_remote(self._directory) and not self._directory.exists()
        if is_gone:  # whoever removed it does not want it made again
            raise error
        pause = _PAUSES[min(self._failures, len(_PAUSES)) - 1]
        self._say(f"{error}; trying again in {pause} s ({self._failures} of {self._config.retries})")
        with contextlib.suppress(Exception):  # it raises what is told already
            self._checkpointer.close()
        _remove_unfinished(self._directory)
        self._checkpointer = self._open()
        self._again_at = time.monotonic() + pause

    def safe(self) -> str:
        """What there is to go on from after a failure, for its message."""
        paths = self._directory.iterdir() if self._directory.is_dir() else ()
        steps = [int(path.name) for path in paths if path.name.isdecimal() and _is_complete(path)]
        if not steps:
            return NOTHING_SAVED
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
                _rename(self._directory / str(damage.step), aside)
        multihost_utils.sync_global_devices("set aside")
        self._checkpointer.reload()
        return aside

    @property
    def _told(self) -> Told:
        assert self.latest_step is not None
        if self._read is None or self._read[0] != self.latest_step:
            self._read = self.latest_step, read_told(self._checkpointer, self.latest_step)
        return self._read[1]


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Remove what a killed run was writing.

    Orbax offers to do so, but in a thread that it does not wait for: a run that ends early then fails.
    """
    if jax.process_index() == 0:
        for path in directory.iterdir() if directory.is_dir() else ():
            if _UNFINISHED in path.name:
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.isdecimal() and not _is_complete(path):
                _check_not_copied(path)
                with writing(path):
                    path.rmtree()  # type: ignore[attr-defined]


def _is_complete(path: pathlib.Path) -> bool:
    """Whether a checkpoint was written to its end: it ends with a marker in a store, else with a name."""
    return not is_remote(path) or (path / COMMIT_SUCCESS_FILE).exists()


def _check_not_copied(path: pathlib.Path) -> None:
    """Stop before a whole checkpoint is removed that was copied to a store, without markers.

    Raises:
        CheckpointError: it is one. What a kill left has no part that is whole and has no marker.
    """
    parts = [path / name for name in (PARAMS, OPTIMIZER)]
    whole = all((part / "manifest.ocdbt").exists() for part in parts)
    if whole and not any((part / COMMIT_SUCCESS_FILE).exists() for part in parts):
        raise CheckpointError(
            f"{path} has no {COMMIT_SUCCESS_FILE}, as if it had been copied there from a disk; put an empty "
            "file of this name into it to use it, or delete it"
        )


def _rename(path: pathlib.Path, aside: pathlib.Path) -> None:
    """Rename a checkpoint; in a store object by object, of which the marker goes first."""
    if is_remote(path):
        (path / COMMIT_SUCCESS_FILE).unlink()
    path.rename(aside)
