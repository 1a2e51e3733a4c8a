"""Runs in the worker: the same numbers as `train`, whatever else happens to the process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from im_jax import child_process
from im_jax.config import Config, with_overrides
from im_jax.console import Console
from im_jax.sweeps.process import Worker, start_workers
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.training.tiny import tiny_config


def config(**changes: Any) -> Config:
    return with_overrides(tiny_config(), {"log.tensorboard": False, **changes})


def run(
    worker: Worker, made: Config, directory: Path, waiting: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    return worker.run(made, directory, waiting)


def losses(directory: Path) -> list[Any]:
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["split"], row["loss"], row.get("grad_norm")) for row in rows]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with start_workers([None]) as (started,):
        yield started


@pytest.fixture(scope="module")
def first(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The first run of a worker, which compiles everything."""
    directory = tmp_path_factory.mktemp("runs") / "first"
    return directory, run(worker, config(), directory)


def test_a_run_again_and_one_outside_the_worker_agree_bit_for_bit(
    worker: Worker, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory, answer = first
    assert answer["status"] == "finished", answer
    again = run(worker, config(), tmp_path / "again")  # what it compiles comes from the cache
    alone = train(config(), tmp_path / "alone", Console(quiet=True))
    assert answer["summary"]["heldout"] == again["summary"]["heldout"] == alone["heldout"]
    assert losses(directory) == losses(tmp_path / "again") == losses(tmp_path / "alone")


def test_answer_says_what_it_ran_on_and_the_log_what_happened(first: tuple[Path, dict[str, Any]]) -> None:
    directory, answer = first
    assert answer["machine"]["device"] == "cpu" and answer["machine"]["devices"] == 1
    assert answer["machine"]["versions"].keys() >= {"im_jax", "jax", "python"}
    log = (directory / "log.txt").read_text()
    assert "step 6/6" in log and "Held-out loss by token class" in log


def test_pairs_share_examples_their_order_and_initial_weights(
    worker: Worker, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The first step's loss of a token class, before any update, does not depend on what is trained."""
    directory, answer = first
    other = run(worker, config(**{"loss.policy": "it"}), tmp_path / "it")
    assert other["summary"]["fingerprint"] == answer["summary"]["fingerprint"]
    im, it = (
        [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (directory, tmp_path / "it")
    )
    assert it[0]["nll/assistant"] == pytest.approx(im[0]["nll/assistant"], rel=1e-6)
    assert it[5]["nll/assistant"] != pytest.approx(im[5]["nll/assistant"], rel=1e-6)
    for one, other_row in zip(im[:6], it[:6], strict=True):
        assert {k: v for k, v in one.items() if "tokens/" in k} == {
            k: v for k, v in other_row.items() if "tokens/" in k
        }


def test_failures_are_answers_and_the_next_run_is_unharmed(
    worker: Worker, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    diverges = config(**{"optimizer.learning_rate": 1e30, "optimizer.clip_norm": 0.0})
    answer = run(worker, diverges, tmp_path / "diverges")
    assert answer["status"] == "failed"
    assert "the loss is" in answer["error"] and "a lower --config.optimizer.learning_rate" in answer["error"]
    assert "error: step" in (tmp_path / "diverges" / "log.txt").read_text()

    missing = run(
        worker, config(**{"data.source": "jsonl", "data.path": "nowhere.jsonl"}), tmp_path / "missing"
    )
    assert missing["status"] == "failed" and "nowhere.jsonl" in missing["error"]

    after = run(worker, config(), tmp_path / "after")
    assert after["summary"]["heldout"] == first[1]["summary"]["heldout"]


def test_error_that_nobody_foresaw_is_named_and_ends_the_process(worker: Worker, tmp_path: Path) -> None:
    directory = tmp_path / "broken"
    directory.mkdir()
    (directory / "metrics.jsonl").mkdir()
    answer = worker.run(config(), directory, lambda: None)
    assert answer["status"] == "failed" and answer["error"].startswith("IsADirectoryError: ")
    assert "Traceback" in (directory / "log.txt").read_text()
    assert worker._child is None


def test_killed_run_is_a_failure_and_goes_on_from_its_checkpoint(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "_LOOK_SECONDS", 0.05)
    directory, longer = tmp_path / "killed", config(**{"train.steps": 60, "checkpoint.every": 10})

    def kill() -> None:
        if (directory / "checkpoints" / "10").exists() and worker._child is not None:
            os.kill(worker._child.pid, signal.SIGKILL)

    answer = run(worker, longer, directory, kill)
    assert answer["status"] == "failed"
    assert answer["error"].startswith("the process was killed by signal 9, as when memory runs out")
    resumed = run(worker, longer, directory)
    assert 10 <= resumed["summary"]["resumed_from"] < 60
    straight = run(worker, longer, tmp_path / "straight")
    assert resumed["summary"]["heldout"] == straight["summary"]["heldout"]


def test_worker_ends_with_the_process_that_asks(tmp_path: Path) -> None:
    """Also when that one is killed, in the middle of a run."""
    script = (
        "import pathlib, sys\n"
        "from im_jax.sweeps.process import start_workers\n"
        "from tests.sweeps.test_worker import config\n"
        "with start_workers([None]) as (worker,):\n"
        "    show = lambda: print(worker._child.pid, flush=True)\n"
        "    worker.run(config(**{'train.steps': 100000}), pathlib.Path(sys.argv[1]), show)\n"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what a killed process leaves there
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    deadline = time.monotonic() + 300
    while not (tmp_path / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (tmp_path / "metrics.jsonl").exists()
    asking.kill()
    asking.communicate()
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")
