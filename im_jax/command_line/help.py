"""What `--help` shows: the command and its groups of fields; with `--help=GROUP`, the fields themselves."""

import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, Final

from absl import flags

from im_jax.command_line.arguments import DefineFlags
from im_jax.config import Config, Record, as_flag, group_texts, records
from im_jax.config.checks import did_you_mean
from im_jax.config.table import values
from im_jax.errors import ConfigError

_WIDEST: Final = 110
_NARROWEST: Final = 30
_ASKING: Final = ("--help", "-help", "-h")


def asked(argv: Sequence[str]) -> str | None:
    """What help is asked on: a group of fields, or empty for the command; None if none is asked for."""
    for word in argv[1:]:
        name, _, topic = word.partition("=")
        if name in _ASKING:
            return topic
    return None


def of_flags(doc: str, define: DefineFlags, first: Sequence[tuple[str, str]] = ()) -> str:
    """What a command does, and its own flags with their defaults, `first` before them."""
    own = flags.FlagValues()
    define(own)
    columns = [*first, *((_usage(own[name]), _meaning(own[name])) for name in sorted(own))]
    return f"{reflowed(doc)}\n\nflags:\n{rows(columns)}"


def of_command(doc: str, define: DefineFlags, kind: type = Config) -> str:
    """What a command does, its own flags, and the groups of fields."""
    first = [("--config=FILE", "Python file with get_config(), such as configs/cpu_debug.py.")]
    top = [(name, record.help) for name, record in records(kind).items() if not record.group]
    groups = [*top, *group_texts(kind).items()]
    return (
        f"{of_flags(doc, define, first)}\n\n"
        f"fields of the configuration, over those of the file: --config.GROUP.FIELD=VALUE\n{rows(groups)}\n\n"
        + _wrapped("--help=GROUP shows the fields of a group, with choices and defaults; --help=all, all.")
    )


def of_fields(topic: str, kind: type = Config) -> str:
    """The fields of a group, or of all, or one field: default, values and meaning.

    Raises:
        ConfigError: there is no such group.
    """
    wanted = "" if topic == "all" else f"{topic}."
    inside = [record for name, record in records(kind).items() if f"{name}.".startswith(wanted)]
    if not inside:
        names = list(group_texts(kind))
        raise ConfigError(
            f"--help={topic}: there is no such group{did_you_mean(topic, names)}; "
            f"groups are {', '.join(names)}, and all"
        )
    return "\n\n".join(_field(record) for record in inside)


def _field(record: Record) -> str:
    """A flag with its default, what it can be, and what it means."""
    text = [re.sub(r"`", "", record.help)]
    if record.when is not None:
        text.append(f"Only with {record.when}.")
    if record.see:
        text.append(f"See docs/{record.see}.")
    lines = [
        f"--config.{record.name}={as_flag(record.default)}",
        _wrapped(f"{values(record)}; decides {record.decides.value}".replace("`", ""), "    "),
        _wrapped(" ".join(text), "    "),
    ]
    return "\n".join(lines)


def _usage(flag: "flags.Flag[Any]") -> str:
    """A flag and what its value is: `--num_examples=NUMBER`."""
    if flag.boolean:
        return f"--{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    if choices:
        return f"--{flag.name}={'|'.join(choices)}"
    kind = flag.parser.flag_type()
    return f"--{flag.name}={'NUMBER' if kind in ('int', 'float') else 'A,B' if 'list' in kind else 'TEXT'}"


def _meaning(flag: "flags.Flag[Any]") -> str:
    """What a flag is for, and its default if that is of use."""
    text = re.sub(r"^<[^>]*>: |;\s+repeat this option.*", "", flag.help or "")  # what absl adds
    text = f"{text} May be given several times." if isinstance(flag, flags.MultiFlag) else text
    value = ",".join(flag.value) if isinstance(flag.value, list) else flag.value
    return text if flag.boolean or value in (None, "") else f"{text} [{value}]"


def reflowed(doc: str) -> str:
    """Text in paragraphs; what is indented, such as a command to copy, stays as it is."""
    parts = doc.strip().split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else _wrapped(part) for part in parts)


def rows(columns: Sequence[tuple[str, str | None]]) -> str:
    """Two columns; the second is wrapped, and below the first where that is wide."""
    left = min(max((len(name) for name, _ in columns), default=0), 26) + 4
    lines = []
    for name, text in columns:
        start = f"  {name}".ljust(left)
        if len(start) > left or left > _width() // 2:
            lines += [start.rstrip(), _wrapped(text or "", "      ")]
        else:
            lines.append(_wrapped(start + (text or ""), " " * left, start=""))
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "", start: str | None = None) -> str:
    first = indent if start is None else start
    return textwrap.fill(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _width() -> int:
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))
