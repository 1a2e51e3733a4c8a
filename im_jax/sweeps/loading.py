"""A sweep from its file: `get_sweep()`, with a tier where the file has several sizes of the same sweep.

One run of it can be taken alone, by any command that has `--run`.
"""

import inspect
import pathlib
import types
from typing import Any

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.sweeps.cells import run_named
from im_jax.sweeps.definition import Sweep


def define_run(values: flags.FlagValues) -> None:
    """The flag that `read_run` asks."""
    flags.DEFINE_string(
        "run",
        None,
        "Which run of a sweep: its labels, joined by -.",
        flag_values=values,
    )


def read_run(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration of a file, or of the run of a sweep that `--run` names.

    Raises:
        ConfigError: there is no file, it is wrong, or it has no such run.
    """
    name: str | None = values["run"].value
    if path is None or name is None:
        return command_line.read_file(path, values)
    sweep = load_sweep(path, None)
    try:
        return run_named(sweep, name).config
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def load_sweep(path: pathlib.Path, tier: str | None) -> Sweep:
    """What `get_sweep()` of a file returns.

    Args:
        path: a Python file with `get_sweep() -> Sweep`; or with `TIERS`, a tuple of names, and
            `get_sweep(tier: str = NAME) -> Sweep`.
        tier: one of these names; None: the default.

    Raises:
        ConfigError: the file is wrong, or has no such tier.
    """
    sweep = command_line.use_file(path, lambda module: _call(module, path, tier))
    if not isinstance(sweep, Sweep):
        raise ConfigError(
            f"{path}: get_sweep() must return an im_jax.sweeps.definition.Sweep, not {type(sweep).__name__}"
        )
    return sweep


def _call(module: types.ModuleType, path: pathlib.Path, tier: str | None) -> Any:
    if not hasattr(module, "get_sweep"):
        raise ConfigError(
            f"{path} has no get_sweep(); files in configs/sweeps/ do, "
            "others are for im_jax.train without --run"
        )
    tiers: tuple[str, ...] = getattr(module, "TIERS", ())
    takes_tier = "tier" in inspect.signature(module.get_sweep).parameters
    if bool(tiers) != takes_tier:
        raise ConfigError(
            f"{path}: a file with tiers has both TIERS = (NAME, ...) and get_sweep(tier: str = NAME)"
        )
    if tier is None:
        return module.get_sweep()
    if tier not in tiers:
        raise ConfigError(f"--tier={tier}: {path} has {', '.join(tiers) or 'no tiers; leave it out'}")
    return module.get_sweep(tier)
