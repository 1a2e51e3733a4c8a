"""Files of benchmarks: JSON Lines or a JSON array, packed or not; each record has the fields it needs."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from im_jax.data.files import BadRecord, File, Record, chunks
from im_jax.errors import ConfigError, DataError
from im_jax.files import write_whole
from im_jax.stores import readable
from im_jax.text import as_json

Kind = type | tuple[type, ...]
"""What a field may be."""
NUMBER: Kind = (int, float)


class Item(NamedTuple):
    """A record, and where it was read."""

    origin: str
    """Such as `file:line`."""
    value: dict[str, Any]


def read_records(path: str | os.PathLike[str], fields: Mapping[str, Kind], flag: str) -> list[Item]:
    """All records of a file.

    Args:
        path: of the file.
        fields: what each record must have, and of which types.
        flag: of the command line, which names the file: for errors.

    Raises:
        ConfigError: there is no such file.
        DataError: a record is no object, or lacks a field, or has another type in it.
    """
    if not readable(path).is_file():
        raise ConfigError(f"--{flag}={os.fspath(path)}: there is no such file")
    items = []
    for chunk in chunks([File(os.fspath(path))], flag):
        for record in chunk.records():
            if isinstance(record, BadRecord):
                raise DataError(record.message)
            assert isinstance(record, Record)
            items.append(Item(record.origin, _checked(record, fields)))
    return items


def check_place(output: pathlib.Path) -> None:
    """Stop at a place where no file can be.

    Raises:
        ConfigError: that.
    """
    if output.is_dir():
        raise ConfigError(f"--output={output} is a folder; name a file")
    if not output.parent.is_dir():
        raise ConfigError(f"--output={output}: there is no folder {output.parent}; make it")


def write_records(path: pathlib.Path, records: Sequence[Mapping[str, Any]], *, as_lines: bool) -> None:
    """Write a file whole, as JSON Lines or as an array with a record a line. Raises `StorageError`."""
    lines = [
        as_json(record) for record in records
    ]  # what a model said may be no text, as half a pair is none
    write_whole(path, "".join(f"{line}\n" for line in lines) if as_lines else _array(lines))


def _array(lines: Sequence[str]) -> str:
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _checked(record: Record, fields: Mapping[str, Kind]) -> dict[str, Any]:
    if not isinstance(record.value, dict):
        raise DataError(f"{record.origin}: is no JSON object; it must have {', '.join(fields)}")
    for name, kind in fields.items():
        if name not in record.value:
            has = ", ".join(record.value) or "none"
            raise DataError(f"{record.origin}: has no field {name!r}; it has {has}")
        value = record.value[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            shown = repr(value)
            raise DataError(f"{record.origin}: {name} must be {_named(kind)}, not {shown[:40]}")
    return record.value


def _named(kind: Kind) -> str:
    names = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(dict.fromkeys(names.get(each, each.__name__) for each in kinds))
