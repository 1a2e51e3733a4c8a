"""A command with a configuration: from `sys.argv` to a checked configuration and the command's own flags."""

import pathlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from absl import flags

from im_jax.command_line import arguments, help, python_files, runner
from im_jax.command_line.arguments import DefineFlags
from im_jax.config import Config
from im_jax.console import print_text
from im_jax.errors import ConfigError

ReadConfig = Callable[[pathlib.Path | None, flags.FlagValues], Config]
"""Gives the configuration that flags change: of the file, if there is one; it may ask the own flags."""


class CommandLine(NamedTuple):
    """A parsed command line."""

    config: Config
    file: pathlib.Path | None
    """The file of the configuration, where the command can do without one."""
    flags: flags.FlagValues
    fields: tuple[str, ...]
    """Fields of the configuration that flags have set."""
    words: tuple[str, ...]
    """The command line itself, without the program's name."""

    @property
    def config_path(self) -> pathlib.Path:
        """The file of the configuration, of a command that needs one."""
        assert self.file is not None
        return self.file

    def flag(self, name: str) -> Any:
        """Value of a flag that the command defined."""
        return self.flags[name].value


def read_file(path: pathlib.Path | None, _: flags.FlagValues) -> Config:
    """What `get_config()` of a file returns, for a command that needs one."""
    if path is None:
        raise ConfigError("no configuration given; set --config=FILE, such as --config=configs/cpu_debug.py")
    return python_files.read_config(path)


@dataclass(frozen=True)
class PlainCommand:
    """A door without a configuration."""

    doc: str
    """What the command does; its first line is its description in lists."""
    main: Callable[[Sequence[str]], int | None]
    """Reads a command line (program name first), does the work and returns the exit code, None for 0."""
    define_flags: DefineFlags

    def __call__(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Run the command on a command line (program name first; `sys.argv` if None), and exit."""
        words = sys.argv if argv is None else argv
        runner.run(lambda: self._run(words))

    def _run(self, argv: Sequence[str]) -> int | None:
        if help.asked(argv) is None:
            return self.main(argv)
        print_text(help.of_flags(self.doc, self.define_flags))
        return 0


@dataclass(frozen=True)
class Command:
    """A door: what it does, its own flags, and where the work begins.

    A door imports what is slow only in `main`: help, and mistakes in flags, come before that.
    """

    doc: str
    """What the command does; its first line is its description in lists."""
    main: Callable[[CommandLine], int | None]
    """Does the work and returns the exit code, None for 0."""
    define_flags: DefineFlags
    read: ReadConfig = read_file
    one_config: bool = True
    """Whether the configuration is that of one run; a sweep's is changed for each of many."""

    def __call__(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Run the command on a command line (program name first; `sys.argv` if None), and exit."""
        words = sys.argv if argv is None else argv
        runner.run(lambda: self._run(words))

    def parse(self, argv: Sequence[str]) -> CommandLine:
        """Flags and a checked configuration from a command line (program name first).

        Raises:
            ConfigError: anything about the command line or the configuration that cannot work.
        """
        words = arguments.sort(argv)
        own = arguments.read_flags(words.own, self.define_flags)
        file = None if words.config is None else arguments.existing_file(words.config)
        config = arguments.with_fields(self.read(file, own), words.fields)
        from im_jax import validation  # only here: it needs NumPy, which is slow to import

        validation.check(config)
        fields = tuple(words.fields)
        if self.one_config:
            arguments.check_effect(fields, [config])
        return CommandLine(config, file, own, fields, tuple(argv[1:]))

    def _run(self, argv: Sequence[str]) -> int | None:
        topic = help.asked(argv)
        if topic is None:
            return self.main(self.parse(argv))
        print_text(help.of_fields(topic) if topic else help.of_command(self.doc, self.define_flags))
        return 0
