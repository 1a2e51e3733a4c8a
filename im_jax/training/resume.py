"""What may change between a run and its resumption, and what would make it another run."""

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from im_jax.config import Config, as_flag, flatten, records
from im_jax.console import Console
from im_jax.data.prepare import Prepared
from im_jax.errors import CheckpointError, ConfigError, DataError
from im_jax.events import ENDS, file_of, read_events
from im_jax.training.checkpoint import NOTHING_SAVED, Checkpoints
from im_jax.training.history import read_history

_ABSENT: Final = "(absent)"
_OPTIMIZER: Final = "optimizer.name"
"""No optimiser goes on with the state of another."""


class Change(NamedTuple):
    """A field with another value than in the checkpoint."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}={as_flag(self.new)} (was {as_flag(self.old)})"


def check_resumable(
    saved: Checkpoints,
    config: Config,
    data: Prepared,
    last_step: int,
    workdir: pathlib.Path,
    console: Console,
) -> None:
    """Stop unless going on from the newest checkpoint is the same run going on; say what changes.

    Raises:
        ConfigError: the configuration or the examples are not those of the run, or it has gone further.
    """
    check_same_run(saved.saved_config(), config, workdir, console)
    check_same_data(saved.saved_data(), data, workdir)
    check_not_beyond(saved.latest_step or 0, last_step, workdir)


def check_same_run(saved: Mapping[str, Any], config: Config, workdir: pathlib.Path, console: Console) -> None:
    """Show what differs from the configuration in the checkpoint. It needs no data: call it before any work.

    A checkpoint that lacks a field is of a version before it, which did what the default does. A field that
    this version lacks is shown, and not refused.

    Args:
        saved: fields of the run in the checkpoint, by name.
        config: what it would go on with, its open fields filled in as far as they were in the checkpoint.
        workdir: of the run, for messages.
        console: where changes are shown.

    Raises:
        ConfigError: a difference would change the data, the model or the loss half-way: what came out
            would be neither run. Each difference is a detail.
    """
    found, known = changes(saved, config), records(type(config))
    allowed = f"{config.checkpoint.allow_changed}."  # the name of a group, or `none`
    refused = [
        change
        for change in found
        if change.name in known
        and not known[change.name].may_change
        and (change.name == _OPTIMIZER or not change.name.startswith(allowed))
    ]
    if refused:
        raise ConfigError(
            f"{workdir} holds a run with another configuration; set these back to resume it, or choose "
            "another --workdir for a new run:",
            *(f"--config.{name}={as_flag(old)}, not {as_flag(new)}" for name, old, new in refused),
        )
    for change in found:
        console.print(f"changed since the checkpoint: {change}")


def changes(saved: Mapping[str, Any], config: Config) -> list[Change]:
    """The fields that differ, with what is missing in `saved` at its default."""
    current = flatten(config)
    before = {name: record.default for name, record in records(type(config)).items()} | dict(saved)
    both = (Change(name, old, current.get(name, _ABSENT)) for name, old in before.items())
    return [change for change in both if change.old != change.new]


def check_same_data(saved: Mapping[str, Any], data: Prepared, workdir: pathlib.Path) -> None:
    """Stop if the examples are not those that the run was trained on so far, though called the same."""
    if not data.has_fingerprint(saved["fingerprint"]):
        raise ConfigError(
            f"the examples of the run in {workdir} have changed since its checkpoint; bring back the files "
            "as they were, or choose another --workdir for a new run"
        )


def check_same_base(saved: Mapping[str, Any], base: str, path: str) -> None:
    """Stop if what a run only reads are other weights than those it was trained beside so far.

    Args:
        saved: what the checkpoint knows.
        base: digest of the parameters that are read; empty: all are trained.
        path: where they come from.
    """
    before = saved.get("base") or base  # versions that knew none trained everything
    if before != base:
        raise ConfigError(
            f"the weights at model.path={path} are not those that the run was trained beside; bring them back"
        )


def check_nothing_lost(workdir: pathlib.Path, config: Config, console: Console) -> None:
    """Where there is no checkpoint: stop if there was one, and say so if there may have been.

    Raises:
        CheckpointError: the run in `workdir` has saved, and what it saved is gone.
    """
    reached = read_history(workdir / "metrics.jsonl").last_step
    every = config.checkpoint.every
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # as the run before had it
        every = int(json.loads((workdir / "config.json").read_text("utf-8"))["checkpoint"]["every"])
    # The second save waits for the first one, so that behind it one was whole, unless saving failed.
    if (workdir / "summary.json").exists() or (0 < 2 * every < reached and not _never_saved(workdir)):
        raise CheckpointError(
            f"{workdir} holds a run that trained {reached} steps, but no checkpoint of it; bring back "
            f"{workdir / 'checkpoints'}, or choose another --workdir for a new run"
        )
    if reached:
        console.print(
            f"{workdir} has numbers of {reached} steps and no checkpoint: starting over from step 1"
        )


def _never_saved(workdir: pathlib.Path) -> bool:
    """Whether the last attempt that told how it ended could not save anything."""
    with contextlib.suppress(DataError, OSError):
        ends = [event for event in read_events(file_of(workdir, 0)) if event.name in ENDS]
        return bool(ends) and NOTHING_SAVED in ends[-1].reason
    return False


def check_not_beyond(latest_step: int, last_step: int, workdir: pathlib.Path) -> None:
    """Stop if the run has trained more steps than are asked for.

    With `train.steps`, that is known before any data is read.
    """
    if latest_step > last_step:
        raise ConfigError(
            f"{workdir} has trained {latest_step} steps, more than the {last_step} asked for; "
            "raise train.steps, or choose another --workdir"
        )
