"""What may change between a run and its resumption, and what would make it another run."""

import pathlib
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from im_jax.config import Config, flatten
from im_jax.errors import ConfigError
from im_jax.training.checkpoint import Checkpoints

_FREE_GROUPS: Final = ("log.", "checkpoint.", "mesh.")
_FREE_FIELDS: Final = frozenset(
    {
        "train.steps",
        "train.epochs",
        "train.accumulate",
        "eval.every",
        "eval.batch_size",
        "data.workers",
        "data.max_lost_fraction",
        "model.path",
        "model.remat",
        "model.attention",
    }
)
_ABSENT: Final = "(absent)"


def check_resumable(
    saved: Checkpoints,
    config: Config,
    fingerprint: str,
    last_step: int,
    workdir: pathlib.Path,
    console: Console,
) -> None:
    """Stop unless going on from the newest checkpoint is the same run going on; show what changes.

    Raises:
        ConfigError: the configuration or the examples are not those of the run, or it has gone further.
    """
    console.print(f"resuming from step {saved.latest_step} in {workdir}", highlight=False)
    check_same_run(saved.saved_config(), flatten(config), workdir, console)
    check_same_data(saved.saved_data(), fingerprint, workdir)
    if (saved.latest_step or 0) > last_step:
        raise ConfigError(
            f"{workdir} has trained {saved.latest_step} steps, more than the {last_step} asked for; "
            "raise train.steps, or choose another --workdir"
        )


def check_same_run(
    saved: Mapping[str, Any], current: Mapping[str, Any], workdir: pathlib.Path, console: Console
) -> None:
    """Show what differs from the configuration in the checkpoint.

    A field that one of the two does not have, because it is of another version of the package, is shown too.

    Raises:
        ConfigError: a difference would change the data, the model or the loss half-way: what came out
            would be neither run.
    """
    changed = {
        name: (saved.get(name, _ABSENT), current.get(name, _ABSENT))
        for name in {**saved, **current}
        if saved.get(name, _ABSENT) != current.get(name, _ABSENT)
    }
    fixed = {
        name: change for name, change in changed.items() if not _may_change(name) and _ABSENT not in change
    }
    if fixed:
        listed = "; ".join(f"{name}={new} (was {old})" for name, (old, new) in fixed.items())
        raise ConfigError(
            f"{workdir} holds a run with another configuration: {listed}. "
            "Set these back to resume it, or choose another --workdir for a new run"
        )
    for name, (old, new) in changed.items():
        console.print(f"changed since the checkpoint: {name}={new} (was {old})", highlight=False)


def check_same_data(saved: Mapping[str, Any], fingerprint: str, workdir: pathlib.Path) -> None:
    """Stop if the examples are not those that the run was trained on so far, though called the same."""
    if saved["fingerprint"] != fingerprint:
        raise ConfigError(
            f"the examples of the run in {workdir} have changed since its checkpoint; bring back the files "
            "as they were, or choose another --workdir for a new run"
        )


def _may_change(name: str) -> bool:
    return name in _FREE_FIELDS or name.startswith(_FREE_GROUPS)
