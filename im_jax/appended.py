"""A file of lines that one process at a time adds to: a kill loses the line under way, no other."""

import contextlib
import fcntl
import os
import pathlib
import types
from typing import Self

from im_jax.files import writing


class Appended:
    """The file, held by this process until it is closed.

    What is there may be looked at before anything is changed: the end of a line that a kill has torn stays
    until `begin`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens it, made if it is not there.

        Raises:
            BlockingIOError: another process holds it. Where the file system knows no locks, nobody does.
            StorageError: it cannot be written.
        """
        self._path = path
        with writing(path):
            self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        except OSError:
            pass  # no locks
        self.lines, self.torn = whole_lines(path)
        """Those that are there, without their ends; and what stands behind the last end of a line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        self.close()

    def begin(self) -> None:
        """Cut off a torn line. Raises StorageError."""
        with writing(self._path):
            self._file.truncate(sum(len(line) + 1 for line in self.lines))

    def add(self, line: str, *, durable: bool = False) -> None:
        """Add a line.

        Args:
            line: without its end.
            durable: whether it must outlive a failure of the machine too, for which the disk is waited for.

        Raises:
            StorageError: it cannot be written.
        """
        with writing(self._path):
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def whole_lines(path: pathlib.Path) -> tuple[list[bytes], bytes]:
    """Lines without their ends, and what stands behind the last end; nothing of a file that is not there."""
    with contextlib.suppress(FileNotFoundError):
        *lines, torn = path.read_bytes().split(b"\n")
        return lines, torn
    return [], b""
