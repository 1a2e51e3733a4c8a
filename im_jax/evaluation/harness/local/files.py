"""Local files of data sets: found with or without `.gz`, read whole, and rows that are named when wrong."""

import csv
import gzip
import io
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from im_jax.errors import DataError

Row = dict[str, Any]
"""A record, by column."""
Splits = Mapping[str, list[Row]]
"""Rows by split: `test`, `validation`, `train`, `dev`."""


def present(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file of this name, or of this name with `.gz`, if one is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read(folder: pathlib.Path, name: str, encoding: str = "utf-8-sig") -> str:
    """Text of a file, which may be compressed.

    Raises:
        DataError: it is missing or cannot be read.
    """
    path = present(folder, name)
    if path is None:
        raise DataError(f"{folder / name} is missing, with or without .gz")
    try:
        stored = path.read_bytes()
        return (gzip.decompress(stored) if path.suffix == ".gz" else stored).decode(encoding)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def json_rows(folder: pathlib.Path, name: str, field: str = "") -> list[Row]:
    """Records of a JSON array, of an array in a field of an object, or of JSON Lines."""
    text = read(folder, name)
    try:
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        found = json.loads(text)
        return found[field] if field else found
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / name} is not the JSON that was expected: {error!r}") from None


def csv_rows(folder: pathlib.Path, name: str) -> list[Row]:
    """Records of a table with a header."""
    return list(csv.DictReader(io.StringIO(read(folder, name), newline="")))


def parsed(rows: Iterable[Row], parse: Callable[[Row], Row], where: pathlib.Path | str) -> list[Row]:
    """Each row in a task's columns.

    Raises:
        DataError: a row is not what the parser expects, named by its number, from 1.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(parse(row))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(f"{where}: record {number} cannot be read as an item: {error!r}") from None
    return found
