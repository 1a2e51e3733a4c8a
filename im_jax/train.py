"""Fine-tune a language model under a loss policy.

    python -m im_jax.train --config=configs/cpu_debug.py --workdir=DIR [--config.FIELD=VALUE ...]
    python -m im_jax.train --config=configs/cpu_debug.py --dry_run

Started again in the same workdir, a run resumes from its latest checkpoint. In WORKDIR: config.json,
metrics.jsonl, summary.json, checkpoints/, tensorboard/. With --dry_run nothing is written: it shows rows,
steps, tokens, parameters, memory and what carries loss, and stops.
"""

import datetime
import os
import pathlib

import jax
from absl import flags

from im_jax import command_line
from im_jax import mesh as meshes
from im_jax.config import Config
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluation.protocol import Entry
from im_jax.training.checkpoint import SavedModel
from im_jax.training.loop import train_run
from im_jax.training.overview import overview
from im_jax.training.resume import check_same_run
from im_jax.training.run import Resolved, Run, prepare_run, resolve


def train(config: Config, workdir: pathlib.Path, console: Console) -> Entry:
    """Run training to its end, from the latest checkpoint in `workdir` if there is one.

    Args:
        config: a checked configuration; it is not changed.
        workdir: where everything is written.
        console: where progress is shown; a quiet one on all processes but the first.

    Returns:
        The summary, as written to WORKDIR/summary.json.
    """
    check_workdir(workdir)
    resolved = resolve(config)
    _check_same_run(workdir, resolved.config)
    return train_run(_prepared(resolved, console), workdir, console)


def _check_same_run(workdir: pathlib.Path, config: Config) -> None:
    """Stop at once if the workdir has a checkpoint of another run: reading the data may take long."""
    directory = workdir / "checkpoints"
    if directory.is_dir() and any(path.name.isdecimal() for path in directory.iterdir()):
        check_same_run(SavedModel(directory).config(), config, workdir, Console(quiet=True))


def _prepared(resolved: Resolved, console: Console) -> Run:
    """The run of a configuration, with what is known of it shown on the way."""
    policy = resolved.policy
    console.print(f"policy {policy.name}, reduction {policy.reduction}")
    return prepare_run(resolved, lambda text: console.print(text))


def check_workdir(workdir: pathlib.Path) -> None:
    """Stop if a run could not write there. Makes nothing yet: a mistake should leave no directory behind."""
    existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"--workdir={workdir}: {existing} is a file; choose another directory")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"--workdir={workdir}: {existing} cannot be written; choose another directory")


def default_workdir(config_path: pathlib.Path) -> pathlib.Path:
    """A new directory for this run; several processes could not agree on one."""
    if jax.process_count() > 1:
        raise ConfigError("several processes need one place to write to: set --workdir=DIR")
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs") / f"{config_path.stem}-{now}"


def main(arguments: command_line.CommandLine) -> None:
    config = arguments.config
    meshes.join_cluster(config.mesh)
    console = Console(quiet=jax.process_index() != 0)
    if arguments.flag("dry_run"):
        for table in overview(_prepared(resolve(config), console)):
            console.print(table)
        return
    workdir = pathlib.Path(arguments.flag("workdir") or default_workdir(arguments.config_path))
    train(config, workdir, console)
    console.print(f"everything was written to {workdir.resolve()}")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "workdir", None, "Where to write; a new directory in runs/ if not given.", flag_values=values
    )
    flags.DEFINE_boolean("dry_run", False, "Say what the run would be, and stop.", flag_values=values)


if __name__ == "__main__":
    command_line.run(main, define_flags)
