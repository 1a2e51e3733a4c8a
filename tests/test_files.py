"""Whole writes, and a directory that one process holds."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.errors import ConfigError, StorageError
from im_jax.files import alone, output_file, write_whole, writing
from tests.conftest import REPOSITORY

HOLD = """
import sys, pathlib
from im_jax.files import alone
with alone(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

LIMITED = """
import pathlib, resource, signal, sys
from im_jax.errors import StorageError
from im_jax.files import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(pathlib.Path(sys.argv[1]), "new" * 1000)
except StorageError as error:
    print(error)
"""


def test_write_that_fails_half_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_whole(path, "old\n")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{path} cannot be written: File too large\n"
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_write_into_a_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone/x\.json cannot be written: No such file or directory$"):
        write_whole(tmp_path / "gone" / "x.json", "text")
    with pytest.raises(StorageError, match="no room at all"), writing(tmp_path):
        raise OSError("no room at all")
    assert StorageError.exit_code == 1 and ConfigError.exit_code == 2


def test_an_output_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    for path, left in ((tmp_path / "old.txt", ["old.txt"]), (tmp_path / "new.txt", [])):
        for name in left:
            (tmp_path / name).write_text("old")
        with pytest.raises(ValueError, match="half-way"), output_file(str(path)) as file:
            file.write("half")
            raise ValueError("half-way")
        assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(n, "old") for n in left]
        with output_file(str(path)) as file:
            file.write("é")
        assert path.read_text(encoding="utf-8") == "é"
        path.unlink()


def test_an_output_goes_through_links_and_to_streams(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_text("old")
    link.symlink_to(target)
    for path in (str(link), os.devnull, None):
        with output_file(path) as file:
            file.write("new")
    assert link.is_symlink() and target.read_text() == "new" and Path(os.devnull).is_char_device()
    assert capfd.readouterr().out == "new"


def test_an_output_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no" / "x", "No such file or directory"), (tmp_path, "Is a directory")):
        with (
            pytest.raises(ConfigError, match=rf"^--output={path} cannot be written: {why}$"),
            output_file(str(path)),
        ):
            raise AssertionError("something was made for it")


def test_second_process_is_told_who_holds_the_directory_until_it_is_killed(tmp_path: Path) -> None:
    held = tmp_path / "new" / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(held)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        where = f"process {holder.pid} on {os.uname().nodename} is at work there; wait for it"
        for _ in range(2):  # being refused changes nothing
            with pytest.raises(ConfigError, match=f"--workdir={held}: {where}"), alone(held):
                pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with alone(held):
        assert f"process {os.getpid()} on" in (held / ".lock").read_text()


def test_directory_in_which_nothing_was_written_goes_again(tmp_path: Path) -> None:
    with alone(tmp_path / "runs" / "mistake"):
        assert (tmp_path / "runs" / "mistake").is_dir()
    assert list(tmp_path.iterdir()) == []
    with alone(tmp_path / "runs" / "used"):
        (tmp_path / "runs" / "used" / "metrics.jsonl").touch()
    assert (tmp_path / "runs" / "used" / "metrics.jsonl").exists()
    with alone(tmp_path / "runs"):  # was there before
        pass
    assert (tmp_path / "runs").is_dir()


def test_file_system_without_locks_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with alone(tmp_path), alone(tmp_path):
        pass
