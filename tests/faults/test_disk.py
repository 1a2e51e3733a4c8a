"""A disk that is full, and files that may not grow: one line that says what is safe, at once, and then it goes on."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from im_jax.training.history import read_history
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_one_line_and_with_room_again_the_run_ends_as_undisturbed(
    whole: Outcome, whole_run: Path, small_disk: Path, tmp_path: Path
) -> None:
    """There is no room at all; room for a page; for one checkpoint and a half."""
    sizes = [path.stat().st_size for path in (whole_run / "checkpoints" / "10").rglob("*") if path.is_file()]
    checkpoint = sum(-(-size // 4096) * 4096 for size in sizes)
    workdir, filler = small_disk / "run", small_disk / "filler"

    def leave(room: int) -> None:
        """Fill the disk up to so many bytes, once what a failed save may have left is gone."""
        filler.unlink(missing_ok=True)
        for path in workdir.glob("checkpoints/*"):
            if not path.name.isdecimal():
                shutil.rmtree(path)
        filler.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - room))

    for room in (0, 4096, checkpoint // 2, int(1.5 * checkpoint)):
        leave(room)
        with ended(Run(workdir, log=tmp_path / "log", flags={"config.checkpoint.retries": 0})) as run:
            assert run.code() == 1, run.said
        assert "Traceback" not in run.said and run.said.count("error: ") == 1, run.said
        assert "No space left on device" in run.last_line
        safe = re.search(
            r"checkpoint (\d+) is whole, and the same command goes on from there$", run.last_line
        )
        assert bool(safe) == any(path.name.isdecimal() for path in workdir.glob("checkpoints/*"))
    assert safe is not None, "the last time there was room for one"
    # The save of three steps later failed. That is told as soon as it is known, and at the latest by the next
    # one, which is made when the numbers of its step are written.
    assert read_history(workdir / "metrics.jsonl").last_step <= int(safe[1]) + 6
    leave(checkpoint // 2)
    with ended(Run(workdir, log=tmp_path / "log")) as run:
        assert run.wait_for(lambda: "trying again in 1 s" in run.said), run.said
        filler.unlink()
        assert run.code() == 0, run.said
    assert f"resuming from step {safe[1]} in" in run.said
    assert_undisturbed(workdir, whole)


def test_a_limit_of_file_sizes_is_one_line_too(whole: Outcome, tmp_path: Path) -> None:
    """What a full disk is where no file system can be mounted: files may have so many bytes and no more.

    A run that tries again is at its last step before it gives up, and nothing of it was ever saved.
    """
    workdir = tmp_path / "run"
    for limit, times in ((2_000, 0), (20_000, 1)):
        retries = {"config.checkpoint.retries": times}
        with ended(Run(workdir, limit=limit, log=tmp_path / "log", flags=retries)) as run:
            assert run.code() == 1, run.said
        assert "Traceback" not in run.said and run.said.count("error: ") == 1, run.said
        assert "File too large" in run.last_line, run.said
    with ended(Run(workdir, log=tmp_path / "log")) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole)
