"""What a run writes to, or reads from, is taken from it: one line on every process, soon, and then it goes on."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from im_jax.cluster.peers import LOST
from im_jax.events import Happened
from tests.data.synthetic import chats
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended, pair


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A folder, and all below it, in which nothing can be made."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in folders:
        with suppress(FileNotFoundError):  # a name that a checkpoint had until it was complete
            path.chmod(0o555)
    try:
        yield
    finally:
        for path in folders:
            with suppress(FileNotFoundError):
                path.chmod(0o755)


def assert_one_line(run: Run, message: str) -> None:
    assert "Traceback" not in run.said and run.said.count("error: ") == 1, run.said
    assert re.search(message, run.last_line), run.said


def test_a_directory_that_becomes_unwritable_is_one_line_on_all_processes_and_then_it_goes_on(
    whole: Outcome, whole_pair: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "alone" / "run"
    log, once = tmp_path / "log", {"config.checkpoint.retries": 0}
    workdir.parent.mkdir()
    with ended(Run(workdir, log=log, flags=once, bound=True)) as run:
        assert run.wait_for((workdir / "checkpoints" / "3").is_dir), run.said
        with unwritable(workdir):
            assert run.code() == 1, run.said
    assert_one_line(
        run, r"Permission denied; checkpoint \d+ is whole, and the same command goes on from there$"
    )
    with ended(Run(workdir, log=log, bound=True)) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole)

    workdir = tmp_path / "pair" / "run"
    workdir.parent.mkdir()
    with pair(workdir, bound=True) as runs:
        assert runs[0].wait_for((workdir / "checkpoints" / "3").is_dir), runs[0].said
        with unwritable(workdir):
            codes = [run.code() for run in runs]
    assert sorted(codes) in ([1, 1], [1, LOST]), runs[0].said + runs[1].said
    for code, run in zip(codes, runs, strict=True):
        assert "Traceback" not in run.said
        assert (
            ("Permission denied" in run.said) if code == 1 else (" ended with exit code 1: " in run.said)
        ), run.said
    with pair(workdir, bound=True) as runs:
        assert [run.code() for run in runs] == [0, 0], runs[0].said + runs[1].said
    assert_undisturbed(workdir, whole_pair)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of which the encoded examples are kept and mapped."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats(1200)))
    return path


def flags_of(data: Path, steps: int) -> dict[str, object]:
    return {
        "config.data.source": "jsonl",
        "config.data.num_generated": None,
        "config.data.path": data,
        "config.data.cache": data.parent / "cache",
        "config.train.steps": steps,
        "config.eval.every": 0,
        "config.checkpoint.every": 0,
        "config.log.every": 100,
    }


def cut(folder: Path) -> None:
    for file in (folder / "cache" / "sets").glob("*/*.bin"):
        os.truncate(file, 0)


def removed(folder: Path) -> None:
    shutil.rmtree(folder / "cache")
    (folder / "data.jsonl").unlink()


@pytest.mark.parametrize("together", [False, True])
def test_encoded_examples_that_are_cut_are_one_line_on_all_processes(
    together: bool, data: Path, tmp_path: Path
) -> None:
    workdir, flags = tmp_path / "run", flags_of(data, 100_000)
    with pair(workdir, (0, 1), flags) if together else alone(workdir, flags) as runs:
        assert runs[0].wait_for(lambda: runs[0].happened(Happened.FIRST_STEP)), runs[0].said
        cut(tmp_path)
        codes = [run.code() for run in runs]
    assert 1 in codes and set(codes) <= {1, LOST}, "".join(run.said for run in runs)
    for code, run in zip(codes, runs, strict=True):
        assert "Traceback" not in run.said
        message = r"\.bin was cut while it was read, .*; the same command encodes the examples again"
        assert re.search(message if code == 1 else " ended with exit code 1: ", run.said), run.said


@contextmanager
def alone(workdir: Path, flags: dict[str, object]) -> Iterator[list[Run]]:
    with ended(Run(workdir, flags=flags)) as run:
        yield [run]


@pytest.mark.parametrize("change", [removed, cut])
def test_the_next_start_encodes_what_is_cut_and_none_needs_what_is_removed(
    change: Callable[[Path], None], data: Path, tmp_path: Path
) -> None:
    """On a local disk a file that is removed is there for those that have mapped it."""
    flags = flags_of(data, 60)
    with ended(Run(tmp_path / "run", flags=flags)) as run:
        assert run.wait_for(lambda: run.happened(Happened.FIRST_STEP)), run.said
        if change is removed:
            change(tmp_path)
        assert run.code() == 0, run.said
    if change is cut:
        change(tmp_path)
        with ended(Run(tmp_path / "again", flags=flags)) as run:
            assert run.code() == 0 and "encoded anew" in run.said, run.said
