"""What every command shares: flags to a checked configuration, and errors as one line with exit code 2."""

import dataclasses
import difflib
import importlib.util
import pathlib
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from absl import flags
from ml_collections import config_flags

from im_jax import validation
from im_jax.config import Config, flatten
from im_jax.console import print_text
from im_jax.errors import ConfigError, UserError
from im_jax.text import in_one_line

DefineFlags = Callable[[flags.FlagValues], None]
ReadConfig = Callable[[pathlib.Path, flags.FlagValues], Config]


class CommandLine(NamedTuple):
    """A parsed command line."""

    config: Config
    config_path: pathlib.Path
    flags: flags.FlagValues

    def flag(self, name: str) -> Any:
        """Value of a flag that the command defined."""
        return self.flags[name].value


def read_config(path: pathlib.Path, _: flags.FlagValues) -> Config:
    """What `get_config()` of a file returns."""
    config = use_file(path, lambda module: module.get_config())
    if not isinstance(config, Config):
        raise ConfigError(f"{path}: get_config() must return an im_jax.config.Config, not {type(config)}")
    return config


def run(
    main: Callable[[CommandLine], None], define_flags: DefineFlags, read: ReadConfig = read_config
) -> None:
    """Parse `sys.argv`, run a command, and exit: 0, or with one line when the user can mend it."""
    try:
        main(parse(sys.argv, define_flags, read))
    except UserError as error:
        print_text(f"error: {in_one_line(error)}", sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def parse(argv: Sequence[str], define_flags: DefineFlags, read: ReadConfig = read_config) -> CommandLine:
    """Flags and a checked configuration from a command line (program name first).

    Args:
        argv: the program's name, then its arguments.
        define_flags: adds the command's own flags.
        read: gives the configuration in a file, before overrides; it may ask the command's own flags.

    Raises:
        ConfigError: anything about the command line or the configuration that cannot work.
    """
    values = flags.FlagValues()
    define_flags(values)
    if any(arg in ("--help", "-h", "-help") for arg in argv[1:]):
        _print_help(values)
    path, rest = _take_config_path(argv)
    _check_override_names(rest)
    config = read(path, _own_flags(rest, define_flags))
    try:
        config_flags.DEFINE_config_dataclass("config", config, flag_values=values, sys_argv=rest)
        positional = values(rest)[1:]
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(_flag_error(str(error))) from error
    if positional:
        raise ConfigError(f"unexpected argument {positional[0]!r}; flags are written --name=value")
    config = cast(Config, values["config"].value)
    validation.check(config)
    _check_no_effect(rest, config)
    return CommandLine(config, path, values)


def _print_help(values: flags.FlagValues) -> None:
    main = sys.modules["__main__"]
    print_text(f"{(main.__doc__ or '').strip()} \n\nflags:")
    print_text("  --config: Configuration file (required).")
    for name in sorted(values):
        print_text(f"  --{name}: {values[name].help}")
    print_text("\nfields of the configuration, with the defaults that a file in configs/ may change:")
    for name, value in flatten(Config()).items():
        print_text(f"  --config.{name}={value}")
    sys.exit(0)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def _flag_error(message: str) -> str:
    """One line of an error of the flags library; for a field, what kind of value it takes."""
    found = re.match(r"flag --config\.([\w.]+)=(.*?): ", message, re.DOTALL)
    if found is None:
        return message.partition("\n")[0]
    name, value = found.groups()
    group: Any = Config()
    *groups, last = name.split(".")
    for part in groups:
        group = getattr(group, part)
    kind = next(field.type for field in dataclasses.fields(group) if field.name == last)
    kinds = [_KINDS[k] for k in (typing.get_args(kind) or (kind,)) if k in _KINDS]
    return f"--config.{name}={value} must be {' or '.join(kinds)}"


def _check_no_effect(argv: Sequence[str], config: Config) -> None:
    """Stop at flags for what the checkpoint at `model.path` decides."""
    if not config.model.path:
        return
    for arg in argv[1:]:
        name = arg.partition("=")[0].partition("config.")[2]
        if name.startswith("model.") and name not in _OWN_MODEL_FIELDS:
            raise ConfigError(
                f"config.{name} has no effect: the checkpoint at model.path={config.model.path} decides it; "
                "leave it out"
            )


_OWN_MODEL_FIELDS = (
    "model.path",
    "model.vocab_size",
    "model.compute_dtype",
    "model.attention",
    "model.param_dtype",
    "model.remat",
)


def _take_config_path(argv: Sequence[str]) -> tuple[pathlib.Path, list[str]]:
    """The value of `--config`, which must name an existing file, and the other arguments."""
    rest, found = list(argv), ""
    for at, arg in enumerate(argv[1:], start=1):
        if arg.startswith(("--config=", "-config=")):
            found = arg.partition("=")[2]
            del rest[at]
            break
        if arg in ("--config", "-config") and at + 1 < len(argv):
            found = argv[at + 1]
            del rest[at : at + 2]
            break
    if any(arg.startswith(("--config=", "-config=")) or arg in ("--config", "-config") for arg in rest):
        raise ConfigError("--config is given twice; give one file")
    if not found:
        raise ConfigError("no configuration given; set --config=FILE, such as --config=configs/cpu_debug.py")
    path = pathlib.Path(found)
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.py"))
        hint = f"; there are {', '.join(near)}" if near else ""
        raise ConfigError(f"--config={path}: no such file{hint}")
    return path, rest


def _own_flags(argv: Sequence[str], define_flags: DefineFlags) -> flags.FlagValues:
    """The command's own flags alone: those of fields are known once the file is read."""
    values = flags.FlagValues()
    define_flags(values)
    values.set_gnu_getopt(True)  # read on behind the value in `--config.FIELD VALUE`
    try:
        values(list(argv), known_only=True)
    except flags.Error as error:
        raise ConfigError(_flag_error(str(error))) from error
    return values


def use_file(path: pathlib.Path, use: Callable[[types.ModuleType], Any]) -> Any:
    """Run a Python file and give its module to `use`; whatever goes wrong is one line with file and line."""
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config={path} is not a Python file; give one with a function get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return use(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the file does wrong is the user's to see
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path.resolve())
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{path}:{line}" if line else str(path)
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error


def _check_override_names(argv: Sequence[str]) -> None:
    """Stop at `--config.FIELD` that is no field, naming the similar ones."""
    known = flatten(Config())
    groups = {name.rpartition(".")[0] for name in known} - {""}
    for arg in argv[1:]:
        if not arg.startswith(("--config.", "-config.", "--noconfig.")):
            continue
        name = arg.partition("=")[0].partition("config.")[2]
        if name in known:
            continue
        if name in groups:
            inside = [field for field in known if field.startswith(name + ".")]
            raise ConfigError(f"config.{name} is a group; set one of its fields: {', '.join(inside)}")
        raise ConfigError(f"config.{name}: no such field; {_similar(name, list(known))}")


def _similar(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    last = name.rpartition(".")[2]
    near += [field for field in known if field.rpartition(".")[2] == last and field not in near]
    if not near:
        return "run with --help for the list of fields"
    return "did you mean " + " or ".join(f"config.{field}" for field in near[:3]) + "?"
