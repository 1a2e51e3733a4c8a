"""The words of a command line, sorted: the file, fields of the configuration, and the command's own flags."""

import itertools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar, cast

from absl import flags
from ml_collections import config_flags

from im_jax.config import Config, Record, check_field, records, with_overrides, without_effect
from im_jax.errors import ConfigError

DefineFlags = Callable[[flags.FlagValues], None]
"""Adds the flags of a command."""

ConfigType = TypeVar("ConfigType", bound=Config)
_FILE: Final = ("--config", "-config")
_FIELD: Final = ("--config.", "-config.")
_NOT: Final = ("--noconfig.", "-noconfig.")


class Arguments(NamedTuple):
    """A command line whose values are not read yet."""

    config: str | None
    """The value of `--config`."""
    fields: Mapping[str, str]
    """Values of `--config.FIELD` by field, the last one of each."""
    own: list[str]
    """All other words, the program's name first."""


def sort(argv: Sequence[str], kind: type = Config) -> Arguments:
    """Sort the words of a command line (program name first).

    Args:
        argv: `--config=FILE`, `--config.FIELD=VALUE`, or with a space for the `=`; a field that is true or
            false may stand alone, or as `--noconfig.FIELD`.
        kind: type of the configuration.

    Raises:
        ConfigError: a field is unknown, or no value follows.
    """
    config: str | None = None
    fields: dict[str, str] = {}
    own, rest = list(argv[:1]), list(argv[1:])
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _FILE:
            if config is not None:
                raise ConfigError("--config is given twice; give one file")
            config = value if equals else _next(name, rest)
            if not config or config.startswith("="):
                raise ConfigError(f"{name}={value} names no file; write it without spaces: {_written(name)}")
        elif name.startswith(_NOT):
            fields[_field(name, kind).name] = "false"
        elif name.startswith(_FIELD):
            record = _field(name, kind)
            alone = not equals and bool in record.types
            fields[record.name] = value if equals else "true" if alone else _next(name, rest)
        else:
            own.append(word)
    return Arguments(config, fields, own)


def existing_file(name: str) -> pathlib.Path:
    """The file of a configuration.

    Raises:
        ConfigError: there is none, with those that lie beside it.
    """
    path = pathlib.Path(name)
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.py"))
        hint = f"; there are {', '.join(near)}" if near else ""
        raise ConfigError(f"--config={path}: no such file{hint}")
    return path


def with_fields(config: ConfigType, fields: Mapping[str, str]) -> ConfigType:
    """A configuration with fields set to what flags say.

    Raises:
        ConfigError: a value is not of the field's type. What it must be otherwise is not checked here.
    """
    known = records(type(config))
    unset = [name for name, text in fields.items() if known[name].may_be_unset and text.lower() == "none"]
    # The flags library reads no numbers that may be words.
    either = {
        name: int(text) if re.fullmatch(r"-?\d+", text) else text
        for name, text in fields.items()
        if {int, str} <= set(known[name].types) and name not in unset
    }
    apart = dict.fromkeys(unset) | either
    words = ["", *(f"--config.{name}={text}" for name, text in fields.items() if name not in apart)]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dataclass("config", config, flag_values=values, sys_argv=words)
        values(words)
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(_bad_value(error, fields, known)) from error
    return with_overrides(cast(ConfigType, values["config"].value), apart)


def check_effect(fields: Sequence[str], configs: Sequence[Config]) -> None:
    """Stop at a field that was set by a flag and has no effect in any of some configurations."""
    for name in fields:
        reasons = [without_effect(records(type(config))[name], config) for config in configs]
        if reasons and all(reasons):
            raise ConfigError(f"config.{name} has no effect: {reasons[0]}; leave it out")


def read_flags(argv: Sequence[str], define: DefineFlags) -> flags.FlagValues:
    """A command's own flags from a command line that has no others (program name first).

    Raises:
        ConfigError: one is unknown or has a wrong value, or a word is no flag.
    """
    for name, word in itertools.pairwise(argv):
        if name.startswith("-") and "=" not in name:
            _refuse_spaces(name, [word])
    values = flags.FlagValues()
    define(values)
    values.set_gnu_getopt(True)  # flags are read behind words that are none, too
    try:
        positional = values(list(argv))[1:]
    except flags.Error as error:
        raise ConfigError(str(error).partition("\n")[0]) from error
    if positional:
        raise ConfigError(f"unexpected argument {positional[0]!r}; flags are written --name=value")
    return values


def _field(flag: str, kind: type) -> Record:
    name = flag.partition("config.")[2]
    check_field(name, kind, "config.")
    return records(kind)[name]


def _next(name: str, rest: list[str]) -> str:
    """The value that follows a flag in the next word."""
    _refuse_spaces(name, rest)
    if not rest or rest[0].startswith("--"):
        raise ConfigError(f"{name} has no value; write {_written(name)}")
    return rest.pop(0)


def _refuse_spaces(name: str, rest: Sequence[str]) -> None:
    """Stop at `--flag = value`, of which the shell makes three words."""
    if rest[:1] == ["="]:
        raise ConfigError(f"{name} = ...: write it without spaces: {_written(name)}")


def _written(name: str) -> str:
    return f"{name}={'FILE' if name in _FILE else 'VALUE'}"


def _bad_value(error: Exception, fields: Mapping[str, str], known: Mapping[str, Record]) -> str:
    """Of which kind the value must be that the flags library has refused."""
    for name, text in fields.items():
        if str(error).startswith(f"flag --config.{name}={text}"):
            return f"--config.{name}={text} must be {known[name].kind}"
    return str(error).partition("\n")[0]
