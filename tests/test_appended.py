"""Files that are added to: torn lines, and who holds them."""

import resource
from pathlib import Path

import pytest

from im_jax.appended import Appended, whole_lines
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
