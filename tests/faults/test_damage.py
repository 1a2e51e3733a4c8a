"""Bits that change in storage and files that vanish: nothing of them is trained on, and what is whole is used."""

import importlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from im_jax.console import Console
from im_jax.recorder import UNRECORDED
from im_jax.training.beginning import Beginning, begin
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.run import Run, prepare_run, resolve
from tests.faults.runs import words_of

FLIPS_EACH = 2
"""Bits of each file, one at a time."""
Harm = Callable[[Path], object]
"""Harms a checkpoint."""
GoesOn = Callable[[Path], bool]


@pytest.fixture(scope="module")
def two(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest two checkpoints of a real run."""
    directory = tmp_path_factory.mktemp("two")
    for step in ("9", "10"):
        shutil.copytree(whole_run / "checkpoints" / step, directory / "checkpoints" / step)
    return directory


@pytest.fixture(scope="module")
def prepared(whole_run: Path) -> Run:
    """The run as a process has it that goes on with it."""
    command = importlib.import_module("im_jax.train").run
    return prepare_run(resolve(command.parse(["train", *words_of(whole_run)]).config))


def began(run: Run, workdir: Path) -> tuple[Beginning, str]:
    """What the run goes on from, and what is said of it."""
    text = io.StringIO()
    console = Console(file=text, width=1000)
    with (
        jax.set_mesh(run.mesh),
        Checkpoints(workdir / "checkpoints", run.config.checkpoint) as saved,
    ):
        return begin(run, saved, workdir, console, UNRECORDED), text.getvalue()


@pytest.fixture(scope="module")
def goes_on(two: Path, prepared: Run, tmp_path_factory: pytest.TempPathFactory) -> GoesOn:
    """Checks that a run goes on from step 10; or from 9, where it says that checkpoint 10 is damaged: then true."""
    copy = tmp_path_factory.mktemp("undamaged") / "copy"
    shutil.copytree(two, copy)
    known = {10: began(prepared, copy)[0]}
    shutil.rmtree(copy / "checkpoints" / "10")
    known[9] = began(prepared, copy)[0]

    def check(workdir: Path) -> bool:
        found, said = began(prepared, workdir)
        is_aside = "checkpoint 10 is damaged: " in said
        assert found.step == (9 if is_aside else 10), said
        assert (workdir / "checkpoints" / "damaged-10-1").is_dir() == is_aside
        expected = known[found.step]
        assert found.data == expected.data and found.batches.get_state() == expected.batches.get_state()
        for a, b in zip(*map(jax.tree.leaves, (found.state, expected.state)), strict=True):
            np.testing.assert_array_equal(a, b)
        return is_aside

    return check


def damaged(two: Path, tmp_path: Path, harms: Sequence[Harm]) -> Iterator[Path]:
    """Copies, each harmed in one way."""
    for number, harm in enumerate(harms):
        copy = tmp_path / str(number)
        shutil.copytree(two, copy)
        harm(copy / "checkpoints" / "10")
        yield copy
        shutil.rmtree(copy)


def files(two: Path) -> list[Path]:
    newest = two / "checkpoints" / "10"
    return [path.relative_to(newest) for path in sorted(newest.rglob("*")) if path.is_file()]


def flipped(file: Path, place: int) -> Harm:
    """Changes a bit of a file."""

    def harm(newest: Path) -> None:
        content = bytearray((newest / file).read_bytes())
        content[place // 8] ^= 1 << place % 8
        (newest / file).write_bytes(content)

    return harm


def missing(file: Path) -> Harm:
    """Removes a file."""
    return lambda newest: (newest / file).unlink()


def without(part: str) -> Harm:
    """Removes a directory."""
    return lambda newest: shutil.rmtree(newest / part)


def cut(file: Path) -> Harm:
    """Leaves half of a file."""
    return lambda newest: (newest / file).write_bytes(
        (newest / file).read_bytes()[: _size(newest, file) // 2]
    )


def test_no_flipped_bit_in_any_file_is_trained_on(two: Path, goes_on: GoesOn, tmp_path: Path) -> None:
    rng, harms = np.random.default_rng(0), []
    for file in files(two):
        bits = 8 * _size(two / "checkpoints" / "10", file)
        harms += [
            flipped(file, place) for place in (rng.integers(0, bits, FLIPS_EACH).tolist() if bits else ())
        ]
    noticed = [goes_on(copy) for copy in damaged(two, tmp_path, harms)]
    assert len(noticed) >= 60 and sum(noticed) > len(noticed) / 4  # the others are in what nobody reads


def test_no_missing_or_cut_file_is_trained_without(two: Path, goes_on: GoesOn, tmp_path: Path) -> None:
    noticed = [goes_on(copy) for copy in damaged(two, tmp_path, list(map(missing, files(two))))]
    assert sum(noticed) > len(noticed) / 4
    for part in ("params", "optimizer", "data", "config", "sums"):
        inside = [file for file in files(two) if file.parts[0] == part]
        largest = max(inside, key=lambda file: _size(two / "checkpoints" / "10", file))
        harms = [cut(largest), without(part)]
        assert all([goes_on(copy) for copy in damaged(two, tmp_path, harms)]), part


def _size(newest: Path, file: Path) -> int:
    return (newest / file).stat().st_size
