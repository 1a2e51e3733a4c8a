"""What every command shares: flags to a checked configuration, help, errors and exit codes.

Nothing here imports JAX or anything else that is slow: a mistake in a flag is told at once.
"""

from im_jax.command_line.arguments import DefineFlags, read_flags
from im_jax.command_line.command import Command, CommandLine, PlainCommand, ReadConfig, read_file
from im_jax.command_line.python_files import read_config, use_file
from im_jax.command_line.verbs import Verbs

__all__ = [
    "Command",
    "CommandLine",
    "DefineFlags",
    "PlainCommand",
    "ReadConfig",
    "Verbs",
    "read_config",
    "read_file",
    "read_flags",
    "use_file",
]
