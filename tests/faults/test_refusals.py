"""What a stopped run finds changed when it is started again: it goes on as if nothing had been, or says why not."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from im_jax.errors import CheckpointError
from im_jax.events import Happened
from im_jax.opening import open_run
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended, outcome


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped some steps behind its second checkpoint. Not to be changed."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    with ended(Run(workdir)) as run:
        assert run.wait_for(lambda: run.happened(Happened.STEP, step=7)), run.said
        run.send(signal.SIGTERM)
        assert run.code() == 42, run.said
    return workdir


def checkpoints(workdir: Path) -> list[Path]:
    """From the oldest to the newest."""
    found = [path for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def flip_in_arrays(workdir: Path, which: int = -1) -> None:
    arrays = (path for path in (checkpoints(workdir)[which] / "params").rglob("*") if path.is_file())
    largest = max(arrays, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def lose_newest(workdir: Path) -> None:
    shutil.rmtree(checkpoints(workdir)[-1])


def tear_metrics(workdir: Path) -> None:
    """As a kill does."""
    path = workdir / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 8, "spl')


def lose_configuration(workdir: Path) -> None:
    (workdir / "config.json").unlink()


HARMS = (flip_in_arrays, lose_newest, tear_metrics, lose_configuration)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_run_goes_on_and_ends_as_an_undisturbed_one(
    harm: Callable[[Path], None], stopped: Path, whole: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    newest, before = checkpoints(workdir)[-1], checkpoints(workdir)[-2]
    harm(workdir)
    if harm is flip_in_arrays:  # who only reads changes nothing, and is told
        with pytest.raises(CheckpointError, match=rf"checkpoint {newest.name} in .* is damaged: params\."):
            open_run(workdir)
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    goes_back = harm in (flip_in_arrays, lose_newest)
    assert f"resuming from step {(before if goes_back else newest).name} in" in run.said
    if harm is flip_in_arrays:
        assert f"checkpoint {newest.name} is damaged: params." in run.said
    assert_undisturbed(workdir, whole, "preempted")


def test_a_damaged_line_of_metrics_is_named_and_no_weight_differs(
    stopped: Path, whole: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    lines = (workdir / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b"\xff" + lines[2][1:]
    (workdir / "metrics.jsonl").write_bytes(b"".join(lines))
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    assert "metrics.jsonl: no numbers can be read from line 3; what stood there is now in " in run.said
    found = outcome(workdir)
    assert found.metrics == [row for at, row in enumerate(whole.metrics) if at != 2]
    assert all((found.arrays[name] == array).all() for name, array in whole.arrays.items())


CHANGES = {
    "config.optimizer.learning_rate": (0.5, "optimizer.learning_rate"),
    "config.data.seed": (7, "data.seed"),
    "config.model.embed_dim": (64, "model.embed_dim"),
    "config.data.num_generated": (61, "data.num_generated"),
}


def test_another_configuration_is_refused_by_name_and_the_own_goes_on(
    stopped: Path, whole: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    for flag, (value, field) in CHANGES.items():
        with ended(Run(workdir, flags={flag: value})) as run:
            assert run.code() == 2, run.said
        error, *details = run.said.splitlines()
        assert error.startswith("error: ") and len(details) == 1 and field in details[0], run.said
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole)


def test_a_run_without_a_whole_checkpoint_is_not_begun_anew(stopped: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    for which, _ in enumerate(checkpoints(workdir)):
        flip_in_arrays(workdir, which)
    with ended(Run(workdir)) as run:
        assert run.code() == 2, run.said
    assert re.search(
        r"^error: every checkpoint of the run in .* is damaged, the oldest by this: ", run.last_line
    )
    assert json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])["step"] == 1
