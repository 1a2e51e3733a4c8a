"""Files that are added to: torn lines, and who holds them."""

import errno
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from im_jax.appended import Appended, making_room, whole_lines
from im_jax.errors import StorageError


def test_a_torn_line_stays_until_it_is_known_whose_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes("a\n\u00e9\u00df\nto".encode())
    with Appended(path) as file:
        assert (file.lines, file.torn) == ([b"a", "\u00e9\u00df".encode()], b"to")
        assert path.read_bytes().endswith(b"to")
        file.begin()
        file.add("c", durable=True)
        assert whole_lines(path) == ([*file.lines, b"c"], b"")


def test_one_process_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    with Appended(tmp_path / "lines") as file:
        file.add("a")
        with pytest.raises(BlockingIOError):
            Appended(tmp_path / "lines")
    assert Appended(tmp_path / "lines").lines == [b"a"]


def test_where_there_is_no_place_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nothere/lines cannot be written: No such file"):
        Appended(tmp_path / "nothere" / "lines")
    assert whole_lines(tmp_path / "nothere") == ([], b"")


def test_a_line_there_is_no_room_for_is_told_once_and_leaves_nothing(tmp_path: Path) -> None:
    """Behind a part of it the next line would be lost, and closing the file would fail a second time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Appended(tmp_path / "lines") as file:
        file.add("a")
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
        try:
            with pytest.raises(StorageError, match="lines cannot be written: File too large"):
                file.add("too long")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        file.add("b")
    assert whole_lines(tmp_path / "lines") == ([b"a", b"b"], b"")


class _Full:
    """A file on a disk that has no room until something is removed from it."""

    def __init__(self, file: Any) -> None:
        self._file, self.room = file, 0

    def write(self, line: memoryview) -> int:
        written: int = self._file.write(line[: self.room])
        self.room -= written
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_line_there_is_no_room_for_is_tried_again_where_room_is_made(tmp_path: Path) -> None:
    file = Appended(tmp_path / "lines")
    disk = file._file = _Full(file._file)  # type: ignore[assignment]
    makes = [3, 0, 10]

    def make() -> bool:
        disk.room += makes.pop(0) if makes else 0
        return bool(makes)

    with file, making_room(make):
        with pytest.raises(StorageError, match="No space left on device"):
            file.add("a line")
        assert makes == [] and whole_lines(tmp_path / "lines") == ([], b"")
        makes[:] = [3, 0, 10, 0]
        disk.room = 0
        file.add("a line")
        told: list[str] = []

        def elsewhere() -> None:
            with pytest.raises(StorageError) as raised:
                file.add("of another thread, which does not know who makes room here")
            told.append(str(raised.value))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(told) == 1 and makes == [0]
    assert whole_lines(tmp_path / "lines") == ([b"a line"], b"")


def test_a_file_that_was_removed_is_told(tmp_path: Path) -> None:
    with Appended(tmp_path / "lines") as file:
        file.add("a")
        (tmp_path / "lines").unlink()
        with pytest.raises(StorageError, match="lines cannot be written: it was removed while it is written"):
            file.add("b")
