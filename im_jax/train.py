"""Fine-tune a language model under a loss policy.

    python -m im_jax.train --config=configs/cpu_debug.py --workdir=DIR [--config.FIELD=VALUE ...]
    python -m im_jax.train --config=configs/cpu_debug.py --dry_run
    python -m im_jax.train --config=configs/sweeps/im_and_it.py --run=im-100

Started again in the same workdir, a run resumes from its latest checkpoint. In WORKDIR: config.json,
metrics.jsonl, events.jsonl, summary.json, checkpoints/, tensorboard/. With --dry_run nothing is written: it
shows rows, steps, tokens, parameters, memory and what carries loss, and stops.
"""

import sys
import types
from typing import Any

from absl import flags

from im_jax import command_line
from im_jax.recorder import Recorder
from im_jax.sweeps.loading import define_run, read_run


def main(arguments: command_line.CommandLine) -> None:
    events = Recorder()  # the run begins here
    from im_jax.training import start  # only now: flags have been read, and JAX is slow to import

    start.run_here(
        arguments.config,
        arguments.flag("workdir"),
        "-".join(filter(None, [arguments.config_path.stem, arguments.flag("run")])),
        events,
        dry_run=arguments.flag("dry_run"),
    )


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "workdir", None, "Where to write; a new directory in runs/ if not given.", flag_values=values
    )
    flags.DEFINE_boolean("dry_run", False, "Say what the run would be, and stop.", flag_values=values)
    define_run(values)


run = command_line.Command(__doc__ or "", main, define_flags, read_run)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""


class _Door(types.ModuleType):
    """`im_jax.train` is a function, and this module once it is imported: either can be called."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from im_jax.training.start import train

        return train(*arguments, **named)


sys.modules[__name__].__class__ = _Door

if __name__ == "__main__":
    run()
