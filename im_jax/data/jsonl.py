"""JSON Lines files, plain or gzipped, as a random-access source."""

import array
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, SupportsIndex

import jaxtyping as jt
import numpy as np

from im_jax.config import FieldNames
from im_jax.data.bad_examples import find_usable
from im_jax.data.conversation import Conversation, conversation_from_record
from im_jax.data.files import lines_of
from im_jax.data.formats import DEFAULT_FIELDS, refuse_unknown_names
from im_jax.errors import DataError

_COLUMNS: Final = 4


class JsonlSource:
    """The records of one or several files, in order; blank lines do not count.

    The lines of the files stay in memory and each is decoded when it is asked for, so a run keeps reading
    what was checked at its start even if a file changes. Sets too large for that are what
    `im_jax.data.builders` is for. Threads may share a source; it can be pickled.
    """

    skipped: Sequence[str]
    """One message for each malformed line that was left out (`on_bad_example="skip"`)."""

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        fields: FieldNames = DEFAULT_FIELDS,
        on_bad_example: str = "stop",
        field: str = "data.path",
    ):
        """Reads and checks every line.

        Raises:
            DataError: a file cannot be read as JSON Lines, or (unless skipped) a line is malformed; or no
                record has a name of `fields`.
        """
        self._paths = [os.fspath(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        if not self._paths:
            raise DataError("data.path names no file; set --config.data.path=FILE, or several with commas")
        self._fields = fields
        self._content, self._lines = _read(self._paths, field)
        place = ", ".join(self._paths)
        usable, self.skipped = find_usable(len(self._lines), self.__getitem__, on_bad_example, place)
        self._lines = self._lines[usable]
        refuse_unknown_names(map(self._record, range(len(self))), fields, place)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        return conversation_from_record(self._record(index), self._origin(index), self._fields)

    def _origin(self, index: SupportsIndex) -> str:
        file, number, _, _ = self._lines[index].tolist()
        return f"{self._paths[file]}:{number}"

    def _record(self, index: SupportsIndex) -> object:
        _, _, start, end = self._lines[index].tolist()
        return _decode(bytes(self._content[start:end]), self._origin(index))


def _read(paths: Sequence[str], field: str) -> tuple[bytearray, jt.Int64[np.ndarray, "E 4"]]:
    """All lines end to end; and of each the file, the line's number, its first byte and the one after."""
    content, lines = bytearray(), array.array("q")
    for file, path in enumerate(paths):
        for number, line in lines_of(path, field):
            start = len(content)
            content += line
            lines.extend((file, number, start, len(content)))
    return content, np.frombuffer(lines, np.int64).reshape(-1, _COLUMNS)


def split_paths(joined: str) -> list[str]:
    """The files of a text such as `data.path`, which joins them by commas; a name may have commas too."""
    parts = joined.split(",")
    paths = []
    while parts:
        names = [",".join(parts[:count]).strip() for count in range(1, len(parts) + 1)]
        there = (name for name in [names[-1], *names] if name and Path(name).expanduser().exists())
        chosen = next(there, names[0])
        paths.append(chosen)
        parts = parts[names.index(chosen) + 1 :]
    return [path for path in paths if path]


def _decode(line: bytes, origin: str) -> object:
    try:
        return json.loads(line.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        bad = f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}"
        raise DataError(f"{origin}: is not UTF-8 at {bad}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at column {error.colno}"
        raise DataError(f"{origin}: is not JSON: {where}; each line must be one whole JSON object") from None
    except _TwiceError as error:
        raise DataError(f"{origin}: has the field {error} twice in one object; keep one of them") from None
    except (ValueError, RecursionError) as error:  # a number of over 4,300 digits, a very deep nesting
        raise DataError(f"{origin}: is beyond what Python's json reads: {error}") from None


class _TwiceError(Exception):
    """A JSON object that has a field twice, of which Python would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(ascii(next(name for name in names if names.count(name) > 1))[:60])
    return found
