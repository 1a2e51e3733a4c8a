"""Lines of files, plain or gzipped: recognised by content, read in bounded memory.

A file that is something else is refused with what it is and what to do; a line, or what a small gzip file
unpacks to, may not be larger than any data set has use for.
"""

import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from im_jax.data.files.conversion import conversion_command, recognised
from im_jax.errors import DataError

MAX_LINE: Final = 1 << 25
"""Bytes of a line, 32 MiB: a book of ten thousand pages."""
MAX_UNPACKED: Final = 1 << 28
MAX_RATIO: Final = 100
"""A gzip file may unpack to 256 MiB, or to 100 times its size if that is more; text shrinks to a third."""
GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SPECIAL: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_HEAD: Final = 1 << 12
"""Bytes by which a file is recognised."""


def lines_of(path: str, field: str) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank.

    Args:
        path: a regular file.
        field: the field of the configuration that names it, for errors.

    Raises:
        DataError: it cannot be read, is no JSON Lines, is a damaged gzip file, or is beyond the limits.
    """
    with _opened(path, field) as (file, zipped):
        limit = max(MAX_UNPACKED, MAX_RATIO * os.fstat(file.fileno()).st_size) if zipped else None
        number = read = 0
        try:
            _refuse_other_formats(path, file, zipped)
            while line := file.readline(MAX_LINE + 1):
                number, read = number + 1, read + len(line)
                if len(line) > MAX_LINE:
                    raise DataError(
                        f"{path}:{number}: is a line of more than {MAX_LINE >> 20} MiB; each line must be "
                        "one record, so split it into several, or remove it"
                    )
                if limit is not None and read > limit:
                    raise DataError(
                        f"{path}:{number}: has unpacked to more than {limit >> 20} MiB, over {MAX_RATIO} "
                        "times its size, as data does not; unpack it with gzip -dc and look at it"
                    )
                text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                if text.strip():
                    yield number, text.rstrip(b"\r\n")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            where = f"damaged or truncated gzip file ({error}), readable up to line {number}"
            raise DataError(f"{path}: is a {where}; copy it again") from None
        except MemoryError:
            raise DataError(f"{path}:{number}: does not fit into memory; split the file") from None


@contextlib.contextmanager
def _opened(path: str, field: str) -> Iterator[tuple[io.BufferedIOBase, bool]]:
    """The file, unpacked if it is gzipped, and whether it is."""
    place = Path(path).expanduser()
    try:
        _refuse_special(place.stat().st_mode, path, field)
        with place.open("rb") as file:
            zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC  # by content: names lie
            file.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked, True
            else:
                yield file, False
    except FileNotFoundError:
        raise DataError(f"{field}: there is no file {path!r}; set --config.{field}=FILE") from None
    except OSError as error:
        raise DataError(f"{field}: {path!r} cannot be read: {error.strerror or error}") from None


def _refuse_special(mode: int, path: str, field: str) -> None:
    """Stop at what is no regular file: a pipe gives its bytes once or never, a device endlessly."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        advice = f"set --config.{field} to the files in it, joined by commas"
        raise DataError(f"{field}: {path!r} is a directory; {advice}")
    kind = _SPECIAL.get(stat.S_IFMT(mode), "no regular file")
    raise DataError(f"{field}: {path!r} is {kind}, not a file; write what it gives to a file, and name that")


def _refuse_other_formats(path: str, file: io.BufferedIOBase, zipped: bool) -> None:
    """Stop at a file whose first bytes are those of another format, or of none."""
    head = file.read(_HEAD)
    file.seek(0)
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text and len(head) < _HEAD:
        raise DataError(f"{path}: is empty; it must hold one JSON object per line")
    if kind := recognised(text, whole=len(head) < _HEAD):
        advice = f"convert it with: {conversion_command(kind, path, zipped)}"
        raise DataError(f"{path}: is {kind.name}, not JSON Lines; {advice}")
