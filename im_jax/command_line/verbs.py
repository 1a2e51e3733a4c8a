"""A door of several commands: the first word of its command line says which."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from im_jax.command_line import runner
from im_jax.config.checks import did_you_mean
from im_jax.errors import ConfigError


@dataclass(frozen=True)
class Verbs:
    """Runs the command of a first word; each has `--help` of its own."""

    modules: Mapping[str, str]
    """The module of each first word. It has `run(argv)`."""
    otherwise: str
    """That of a command line without one."""
    hint: str
    """How a command line without one begins: `for tasks with --tasks=NAME`."""

    def __call__(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Run what a command line names (program name first; `sys.argv` if None), and exit."""
        program, *words = sys.argv if argv is None else argv
        if words and not words[0].startswith("-"):
            if words[0] not in self.modules:
                runner.run(lambda: self._refuse(words[0]))
            program, module = f"{program} {words[0]}", self.modules[words.pop(0)]
        else:
            module = self.otherwise
        importlib.import_module(module).run([program, *words])
        raise AssertionError("a command ends the program")

    def _refuse(self, word: str) -> NoReturn:
        hint = did_you_mean(word, self.modules)
        raise ConfigError(
            f"{word!r} is nothing to do{hint}; begin with {', '.join(self.modules)}, or {self.hint}"
        )
