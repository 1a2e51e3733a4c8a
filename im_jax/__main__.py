"""All commands in one: `im_jax COMMAND ...` equals `python -m im_jax.COMMAND ...`."""

import importlib
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NoReturn

from im_jax.command_line import runner
from im_jax.command_line.help import rows
from im_jax.config.checks import did_you_mean
from im_jax.console import print_text
from im_jax.errors import ConfigError

COMMANDS: Final = MappingProxyType(
    {
        "train": "im_jax.train",
        "generate": "im_jax.generate",
        "export": "im_jax.export",
        "chat": "im_jax.chat",
        "evaluate": "im_jax.evaluate",
        "analyse": "im_jax.analyse",
        "inspect_loss": "im_jax.inspect_loss",
        "data_report": "im_jax.data_report",
        "cache": "im_jax.cache",
        "plan": "im_jax.plan",
        "sweep": "im_jax.sweep",
        "markov": "im_jax.markov",
        "bench": "im_jax.bench.__main__",
        "instruction_jsonl": "im_jax.data.builders.instruction_jsonl",
        "text_jsonl": "im_jax.data.builders.text_jsonl",
    }
)
"""The module of each command. It has `run(argv)`, and a first line that says what the command does."""


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that a command line names first (program name before it; `sys.argv` if None)."""
    program, *words = sys.argv if argv is None else argv
    if words and words[0] in COMMANDS:
        importlib.import_module(COMMANDS[words[0]]).run([f"{program} {words[0]}", *words[1:]])
    runner.run(lambda: _without_command(words))


def overview() -> str:
    """The commands, each with what it does."""
    described = [
        (name, (importlib.import_module(module).__doc__ or "").partition("\n")[0])
        for name, module in COMMANDS.items()
    ]
    return (
        "Instruction tuning in JAX, with a choice, token class by token class, of what carries loss.\n\n"
        "  im_jax COMMAND [FLAGS]\n\n"
        f"commands:\n{rows(described)}\n\n"
        "im_jax COMMAND --help says more. A first run, of a minute on a laptop:\n\n"
        "  im_jax train --config=configs/cpu_debug.py"
    )


def _without_command(words: Sequence[str]) -> int:
    if not words or words[0] in ("--help", "-help", "-h", "help"):
        print_text(overview())
        return 0
    if words[0] == "--version":
        print_text(importlib.import_module("im_jax").__version__)
        return 0
    raise ConfigError(
        f"{words[0]!r} is no command{did_you_mean(words[0], COMMANDS)}; commands are {', '.join(COMMANDS)}"
    )


if __name__ == "__main__":
    run()
