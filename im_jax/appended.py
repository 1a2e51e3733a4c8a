"""A file of lines that one process at a time adds to: a kill loses the line under way, no other."""

import contextlib
import contextvars
import errno
import fcntl
import os
import pathlib
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

from im_jax.files import writing
from im_jax.stores.places import is_remote
from im_jax.stores.writing import Rewritten

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

_make_room: contextvars.ContextVar[Callable[[], bool]] = contextvars.ContextVar("make_room")
"""Of this thread alone: who makes room need not know of others."""


@contextlib.contextmanager
def making_room(make: Callable[[], bool]) -> Iterator[None]:
    """Within it, lines of this thread for which a disk has no room ask for some, and are tried again.

    Args:
        make: whether there may be more room now. Asked until it says no, which is then the line's end.
    """
    before = _make_room.set(make)
    try:
        yield
    finally:
        _make_room.reset(before)


class _Held:
    """A file that this process holds until it is closed. In a store it is written whole now and then."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._remote: Rewritten | None = None
        if is_remote(path):  # held by who holds its directory
            with writing(path):
                self._remote = Rewritten(path, path.read_bytes() if path.exists() else b"")
            return
        with writing(path):
            # Without a buffer: what could not be written would be tried again when the file is closed.
            self._file = path.open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        except OSError:
            pass  # no locks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        self.close()

    def add(self, line: str, *, durable: bool = False) -> None:
        """Add a line.

        Args:
            line: without its end.
            durable: whether it must outlive a failure of the machine too, for which the disk is waited for.

        Raises:
            StorageError: it cannot be written.
        """
        if self._remote is not None:
            self._remote.add(line.encode() + b"\n")
            if durable:
                self._remote.flush()
            return
        with writing(self._path):
            while True:
                try:
                    self._add_whole(line.encode() + b"\n")
                    break
                except OSError as error:
                    if error.errno not in _NO_ROOM or not _make_room.get(lambda: False)():
                        raise
        if durable:
            self.sync()

    def _add_whole(self, line: bytes) -> None:
        """Add all of it or nothing: behind a part of a line, the next one would be lost too."""
        end, rest = os.fstat(self._file.fileno()).st_size, memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # then who opens it next cuts it
                self._file.truncate(end)
            raise
        if os.fstat(self._file.fileno()).st_nlink == 0:  # else lines would go into nothing for ever
            raise OSError("it was removed while it is written")

    def sync(self) -> None:
        """Wait until all lines would outlive a failure of the machine. Raises StorageError."""
        if self._remote is not None:
            self._remote.flush()
            return
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of it. Raises StorageError, for what was not stored yet."""
        if self._remote is not None:
            self._remote.flush()
            return
        with writing(self._path):  # where files are on other machines, it may be told only now
            self._file.close()


class Appended(_Held):
    """The file with all its lines in memory.

    What is there may be looked at before anything is changed: the end of a line that a kill has torn stays
    until `begin`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens it, made if it is not there.

        Raises:
            BlockingIOError: another process holds it. Where the file system knows no locks, nobody does.
            StorageError: it cannot be written.
        """
        super().__init__(path)
        self.lines, self.torn = whole_lines(path)
        """Those that are there, without their ends; and what stands behind the last end of a line."""

    def begin(self) -> None:
        """Cut off a torn line. Raises StorageError."""
        if self._remote is not None:
            self._remote.cut(sum(len(line) + 1 for line in self.lines))
            return
        with writing(self._path):
            self._file.truncate(sum(len(line) + 1 for line in self.lines))


class Continued(_Held):
    """A file that may be larger than memory, cut where what is to be kept of it ends."""

    def __init__(self, path: pathlib.Path, keeps: Callable[[bytes], bool]) -> None:
        """Opens it, made if it is not there, and cuts it before the first line that is not kept, or is torn.

        Args:
            path: of the file.
            keeps: whether a line, without its end, is kept.

        Raises:
            BlockingIOError: another process holds it. Where the file system knows no locks, nobody does.
            StorageError: it cannot be written.
        """
        super().__init__(path)
        if self._remote is not None:
            self._remote.cut(_kept(self._remote.lines(), keeps))
            return
        with writing(path), path.open("rb") as lines:
            self._file.truncate(_kept(lines, keeps))


def _kept(lines: Iterable[bytes], keeps: Callable[[bytes], bool]) -> int:
    """Bytes up to the first line that is torn or not kept."""
    kept = 0
    for line in lines:
        if not line.endswith(b"\n") or not keeps(line[:-1]):
            break
        kept += len(line)
    return kept


def whole_lines(path: pathlib.Path) -> tuple[list[bytes], bytes]:
    """Lines without their ends, and what stands behind the last end; nothing of a file that is not there."""
    with contextlib.suppress(FileNotFoundError):
        *lines, torn = path.read_bytes().split(b"\n")
        return lines, torn
    return [], b""
