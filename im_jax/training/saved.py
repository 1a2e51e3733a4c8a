"""What a checkpoint holds, read and compared with what was written.

A checkpoint has five parts, each in a directory of its own: `params`; `optimizer`, with the step; `config`
and `data`, which are JSON; and `sums`, JSON too, with a fingerprint of each array.
Storage changes a bit now and then, and neither Orbax nor TensorStore notices that in arrays.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import jax
import numpy as np
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.errors import CheckpointError
from im_jax.models.files.layout import LayersOnDisk
from im_jax.stores.places import absolute, place
from im_jax.training.digest import Fingerprint, fingerprints
from im_jax.training.state import Params, TrainState
from im_jax.training.stored_params import read_param
from im_jax.training.verified import verified

PARAMS, OPTIMIZER, DATA, CONFIG, SUMS = "params", "optimizer", "data", "config", "sums"

_DIGEST: Final = "digest"
"""In `data`: of all JSON."""
_PASSING: Final = ("PERMISSION_DENIED", "Permission denied", "UNAVAILABLE", "DEADLINE", "RESOURCE_EXHAUSTED")
"""In reasons that say nothing of the files themselves."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint is not what was written: what is before it may be gone on from."""

    def __init__(self, path: pathlib.Path, reason: str) -> None:
        super().__init__(
            f"checkpoint {path.name} in {path.parent} is damaged: {reason}; delete its directory to use the "
            "one before"
        )
        self.step, self.reason = int(path.name), reason


class Told(NamedTuple):
    """What a checkpoint says of itself."""

    config: dict[str, Any]
    """Flattened configuration of the run."""
    data: dict[str, Any]
    """What it knows of the data, and of weights that the run only read."""
    leaves: dict[str, Fingerprint]
    """Of each array; empty where an earlier version wrote it, which kept none."""


def items_of(state: TrainState, data: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of a state. Parameters are apart, so that a model can be used without its optimiser."""
    arrays = arrays_of(state)
    sums = fingerprints(arrays)
    return arrays | {DATA: {**data, _DIGEST: _digest(config, data, sums)}, CONFIG: config, SUMS: sums}


def arrays_of(state: TrainState) -> dict[str, Any]:
    """The arrays of a state, or what describes them, by part."""
    return {PARAMS: state.params, OPTIMIZER: {"step": state.step, "opt_state": state.opt_state}}


def read_told(checkpointer: ocp.training.Checkpointer, step: int) -> Told:
    """Configuration and data of a checkpoint.

    Raises:
        DamagedCheckpoint: it is not what was written.
        CheckpointError: it cannot be read.
    """
    path = _path(checkpointer, step)
    try:
        found = _load(checkpointer, step, dict.fromkeys((CONFIG, DATA)))
        data = dict(found[DATA])
        digest = data.pop(_DIGEST, None)
        if digest is None and not (path / SUMS).exists():
            return Told(found[CONFIG], data, {})
        sums = _load(checkpointer, step, {SUMS: None})[SUMS]
    except (CheckpointError, TypeError, ValueError) as error:
        if any(word in str(error) for word in _PASSING):
            raise
        raise DamagedCheckpoint(path, f"what it says of itself cannot be read ({_reason(error)})") from error
    if digest != _digest(found[CONFIG], data, sums):
        raise DamagedCheckpoint(path, f"its {CONFIG}, {DATA} or {SUMS} are not what was written")
    return Told(found[CONFIG], data, sums)


def read_arrays(
    checkpointer: ocp.training.Checkpointer, step: int, abstract: dict[str, Any], told: Told
) -> dict[str, Any]:
    """Some parts of a checkpoint, in shapes and shardings of `abstract`, compared with what was written.

    Args:
        checkpointer: of the run.
        step: of the checkpoint.
        abstract: by part; None for a part: as it was written.
        told: what the checkpoint says of itself.

    Raises:
        DamagedCheckpoint: it is not what was written.
        CheckpointError: it is of something else.
    """
    path = _path(checkpointer, step)
    written = {name: x for name, x in told.leaves.items() if name.partition(".")[0] in abstract}
    if written and None not in abstract.values():
        _check_shapes(path, abstract, written)
    try:
        found = _load(checkpointer, step, abstract)
    except CheckpointError as error:
        if not written or any(word in str(error) for word in _PASSING):
            raise
        raise DamagedCheckpoint(path, f"its arrays cannot be read ({_reason(error)})") from error
    now = fingerprints(found) if written else {}
    if changed := [name for name, x in now.items() if x != written.get(name)]:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DamagedCheckpoint(path, f"{changed[0]}{more} are not what was written")
    return found


class SavedModel:
    """A checkpoint of a run, for using its model. Changes nothing in the run's directory."""

    def __init__(self, directory: pathlib.Path, step: int | None = None) -> None:
        """Args: of the checkpoints, and which; None: the newest. Raises `CheckpointError` without it."""
        self._checkpointer = ocp.training.Checkpointer(absolute(directory))
        if self._checkpointer.latest is None:
            raise CheckpointError(f"there is no complete checkpoint in {directory}")
        steps = sorted(found.step for found in self._checkpointer.checkpoints)
        self._step = self._checkpointer.latest.step if step is None else step
        if self._step not in steps:
            there = ", ".join(map(str, steps))
            raise CheckpointError(f"there is no checkpoint {step} in {directory}; there are {there}")
        self._path = directory / str(self._step)
        self._told: Told | None = None

    @property
    def _read(self) -> Told:
        self._told = self._told or read_told(self._checkpointer, self._step)
        return self._told

    def config(self) -> dict[str, Any]:
        """Flattened configuration of the run."""
        return self._read.config

    def data(self) -> dict[str, Any]:
        """What the checkpoint knows of the data, and of weights that the run only read."""
        return self._read.data

    def params(self, abstract_params: Params) -> Params:
        """The parameters, in the shapes and shardings of `abstract_params`."""
        return read_arrays(self._checkpointer, self._step, {PARAMS: abstract_params}, self._read)[PARAMS]

    def param(self, path: str) -> np.ndarray | LayersOnDisk:
        """One parameter, by its path in the tree, on this process; see `read_param` and `verified`.

        Raises:
            DamagedCheckpoint: it is not what was written; of layers, once the last one is read.
            CheckpointError: it cannot be read.
        """
        found, name = read_param(self._path / PARAMS, path), f"{PARAMS}.{path}"
        if not self._read.leaves:
            return found  # of an earlier version, which kept no fingerprints
        if name not in self._read.leaves:
            raise DamagedCheckpoint(self._path, f"its {SUMS} have nothing of {name}")
        reason = f"{name} are not what was written"
        return verified(found, self._read.leaves[name], lambda: DamagedCheckpoint(self._path, reason))


def saved_steps(directory: pathlib.Path) -> list[int]:
    """Steps of the complete checkpoints of a run, in order."""
    return sorted(found.step for found in ocp.training.Checkpointer(absolute(directory)).checkpoints)


def newest_config(directory: pathlib.Path) -> dict[str, Any]:
    """Flattened configuration of the newest checkpoint that is not damaged; empty where there is none."""
    if not directory.is_dir() or not any(path.name.isdecimal() for path in directory.iterdir()):
        return {}
    checkpointer = ocp.training.Checkpointer(absolute(directory))
    for step in sorted((found.step for found in checkpointer.checkpoints), reverse=True):
        try:
            return read_told(checkpointer, step).config
        except DamagedCheckpoint:
            continue
    return {}


def _check_shapes(path: pathlib.Path, abstract: dict[str, Any], written: Mapping[str, Fingerprint]) -> None:
    """Stop if it is of other arrays than are wanted: then it is whole, but of another model or optimiser."""
    wanted = {
        jax.tree_util.keystr(name, simple=True, separator="."): [list(x.shape), x.dtype.name]
        for name, x in jax.tree_util.tree_leaves_with_path(abstract)
    }
    there = {name: x[:2] for name, x in written.items()}
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            shown = [_described(each.get(name)) for each in (there, wanted)]
            raise CheckpointError(
                f"checkpoint {path.name} in {path.parent} cannot be read for this configuration: {name} is "
                f"{shown[0]} in it, and {shown[1]} here; use the configuration it was saved with"
            )


def _described(array: list[Any] | None) -> str:
    return "absent" if array is None else f"{array[1]}{array[0]}"


def _digest(*told: Mapping[str, Any]) -> str:
    text = json.dumps([dict(each) for each in told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _path(checkpointer: ocp.training.Checkpointer, step: int) -> pathlib.Path:
    return place(checkpointer.directory) / str(step)


def _reason(error: Exception) -> str:
    """The first line of what a library said."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0][:150]}"


def _load(checkpointer: ocp.training.Checkpointer, step: int, what: dict[str, Any]) -> dict[str, Any]:
    try:
        return checkpointer.load_checkpointables(step, what)
    except Exception as error:  # Orbax raises many kinds; each means that the files do not fit.
        reason = str(error).strip().partition("\n")[0][:300]
        raise CheckpointError(
            f"checkpoint {step} in {checkpointer.directory} cannot be read for this "
            f"configuration ({type(error).__name__}: {reason}); use the configuration it was saved with, "
            "or, if its files are damaged, delete its directory to go on from the one before"
        ) from error
