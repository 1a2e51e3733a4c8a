"""JSON Lines files, plain or gzipped, as a random-access source."""

import gzip
import json
import os
import shlex
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, SupportsIndex

import numpy as np

from im_jax.config import FieldNames
from im_jax.data.bad_examples import find_usable
from im_jax.data.conversation import DEFAULT_FIELDS, Conversation, conversation_from_record
from im_jax.errors import DataError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class JsonlSource:
    """The records of one or several files, in order; blank lines do not count.

    The bytes of the files stay in memory and each line is decoded when it is asked for, so a run keeps
    reading what was checked at its start even if a file changes. Sets too large for that are what
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
            DataError: a file cannot be read as JSON Lines, or (unless skipped) a line is malformed.
        """
        self._paths = [os.fspath(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        if not self._paths:
            raise DataError("data.path names no file; set --config.data.path=FILE, or several with commas")
        self._fields = fields
        self._files = [_read_file(path, field) for path in self._paths]
        lines = [(f, *line) for f, content in enumerate(self._files) for line in _find_lines(content)]
        self._lines = np.array(lines, np.int64).reshape(-1, 4)  # file, line number, start, end
        place = ", ".join(self._paths)
        usable, self.skipped = find_usable(len(lines), self.__getitem__, on_bad_example, place)
        self._lines = self._lines[usable]

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        file, number, start, end = self._lines[index].tolist()
        origin = f"{self._paths[file]}:{number}"
        record = _decode(self._files[file][start:end], origin)
        return conversation_from_record(record, origin, self._fields)


def split_paths(joined: str) -> list[str]:
    """The files of a text such as `data.path`, which joins them by commas."""
    return [path.strip() for path in joined.split(",") if path.strip()]


def _find_lines(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Line number (from 1), first byte and byte after the last, of each line that is not blank."""
    start = len(_BYTE_ORDER_MARK) if content.startswith(_BYTE_ORDER_MARK) else 0
    number = 1
    while start < len(content):
        newline = content.find(b"\n", start)
        end = len(content) if newline < 0 else newline
        if content[start:end].strip():
            yield number, start, end
        start, number = end + 1, number + 1


def _decode(line: bytes, origin: str) -> object:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        bad = f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}"
        raise DataError(f"{origin}: is not UTF-8 at {bad}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at column {error.colno}"
        raise DataError(f"{origin}: is not JSON: {where}; each line must be one whole JSON object") from None
    except (ValueError, RecursionError) as error:  # a number of over 4,300 digits, a very deep nesting
        raise DataError(f"{origin}: is beyond what Python's json reads: {error}") from None


def _read_file(path: str, field: str) -> bytes:
    """The decompressed bytes of a file that looks like JSON Lines."""
    try:
        content = Path(path).expanduser().read_bytes()
        zipped = content.startswith(_GZIP_MAGIC)  # by content: names lie
        content = gzip.decompress(content) if zipped else content
    except FileNotFoundError:
        raise DataError(f"{field}: there is no file {path!r}; set --config.{field}=FILE") from None
    except IsADirectoryError:
        advice = f"set --config.{field} to the files in it, joined by commas"
        raise DataError(f"{field}: {path!r} is a directory; {advice}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is a damaged or truncated gzip file ({error}); copy it again") from None
    except OSError as error:
        raise DataError(f"{field}: {path!r} cannot be read: {error.strerror}") from None
    text = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text:
        raise DataError(f"{path}: is empty; it must hold one JSON object per line")
    if text.startswith(b"["):
        advice = f"convert it with: {_conversion_command(path, zipped)}"
        raise DataError(f"{path}: is a JSON array, not JSON Lines; {advice}")
    return content


def _conversion_command(path: str, zipped: bool) -> str:
    """A shell command that turns a JSON array into JSON Lines, written to the current directory."""
    program = "import json, sys; [print(json.dumps(r)) for r in json.load(sys.stdin)]"
    name = Path(path).name.removesuffix(".gz").removesuffix(".json") + ".jsonl"
    reader = "gzip -dc" if zipped else "cat"
    return f'{reader} {shlex.quote(path)} | python3 -c "{program}" > {shlex.quote(name)}'
