"""Files opened for reading: plain, gzip or zstd, told by content, in bounded memory."""

import contextlib
import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from im_jax.errors import DataError
from im_jax.stores import readable

MAX_LINE: Final = 1 << 25
"""Bytes of a record, 32 MiB: a book of ten thousand pages."""
MAX_UNPACKED: Final = 1 << 28
MAX_RATIO: Final = 100
"""A packed file may unpack to 256 MiB, or to 100 times its size if that is more; text shrinks to a third."""
_PACKINGS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SPECIAL: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_BUFFER: Final = 1 << 18


class Opened:
    """A file that is read once, from its start."""

    def __init__(self, path: str, file: io.BufferedReader, size: int) -> None:
        self.path = path
        """As the user wrote it."""
        self.size = size
        """Bytes, packed as it is."""
        head = file.read(4)  # by content: names lie
        self.packing = next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), "")
        """`gzip`, `zstd` or empty."""
        self.limit = max(MAX_UNPACKED, MAX_RATIO * self.size)
        """Bytes that a packed file may unpack to."""
        self._raw = file
        self.file = self._from_start()
        """What is in it, unpacked."""

    @property
    def position(self) -> int:
        """Bytes of it, packed as it is, that were read so far, some of them ahead."""
        return self._raw.raw.tell()

    def head(self, size: int) -> bytes:
        """The first bytes; reading starts with them all the same."""
        found = self.file.read(size)
        self.file = self._from_start()
        return found

    def _from_start(self) -> io.BufferedIOBase:
        self._raw.seek(0)
        return _unpacked(self._raw, self.packing)

    def refuse_bomb(self, place: str) -> NoReturn:
        """A packed file is beyond its limit. `place`: where that was, for the error."""
        advice = f"unpack it with {self.packing} -dc and look at it" if self.packing else "look at it"
        raise DataError(
            f"{self.path}:{place}: has unpacked to more than {self.limit >> 20} MiB, over {MAX_RATIO} "
            f"times its size, as data does not; {advice}"
        )

    @contextlib.contextmanager
    def damage(self, readable: "Readable") -> Iterator[None]:
        """Say in one line that a packed file is damaged, and up to where it can be read."""
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            if not self.packing or (isinstance(error, OSError) and error.errno is not None):
                raise
            what = f"is a damaged or truncated {self.packing} file ({error}), readable up to {readable.place}"
            raise DataError(f"{self.path}: {what}; copy it again") from None
        except MemoryError:
            what = "does not fit into memory; split the file"
            raise DataError(f"{self.path}:{readable.place}: {what}") from None


class Readable:
    """How far a file was read."""

    def __init__(self, unit: str) -> None:
        """`unit`: what is counted, such as `line`."""
        self.unit, self.number = unit, 0

    @property
    def place(self) -> str:
        """Such as `line 7`."""
        return f"{self.unit} {self.number}"


def flag_of(field: str) -> str:
    """What a user types to set a field of the configuration, such as `data.path`, or a flag of a command."""
    return f"--config.{field}" if "." in field else f"--{field}"


@contextlib.contextmanager
def opened(path: str, field: str) -> Iterator[Opened]:
    """A regular file, for as long as the context lasts.

    Args:
        path: as the user wrote it.
        field: the field of the configuration, or the flag, that names it, for errors.

    Raises:
        DataError: it is none, or cannot be read.
    """
    place = readable(path)
    try:
        told = place.stat()
        _refuse_special(told.st_mode, path, field)
        with place.open("rb") as file:
            yield Opened(path, file, told.st_size)
    except FileNotFoundError:
        raise DataError(f"{field}: there is no file {path!r}; correct {flag_of(field)}") from None
    except OSError as error:
        raise DataError(f"{field}: {path!r} cannot be read: {error.strerror or error}") from None


def _unpacked(file: io.BufferedReader, packing: str) -> io.BufferedIOBase:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=file)
    if packing == "zstd":
        import pyarrow  # here, since few files need it; it brings the reference implementation

        raw: Any = pyarrow.CompressedInputStream(pyarrow.PythonFile(_Lent(file), "r"), "zstd")
        return io.BufferedReader(raw, _BUFFER)
    return file


class _Lent:
    """A file for somebody who closes it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.closed = False

    def close(self) -> None:
        """Leaves the file open."""
        self.closed = True

    def readable(self) -> bool:
        return True


def _refuse_special(mode: int, path: str, field: str) -> None:
    """Stop at what is no regular file: a pipe gives its bytes once or never, a device endlessly."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise DataError(f"{field}: {path!r} is a directory; set {flag_of(field)} to the files in it")
    kind = _SPECIAL.get(stat.S_IFMT(mode), "no regular file")
    raise DataError(f"{field}: {path!r} is {kind}, not a file; write what it gives to a file, and name that")
