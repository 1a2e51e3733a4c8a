"""Runs as jobs of a queue: each submitted once and collected once, whatever becomes of it or of who collects."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from im_jax import sweep
from im_jax.config import flatten, with_overrides
from im_jax.console import Console
from im_jax.errors import ConfigError, ProcessError
from im_jax.events import Happened, read_events
from im_jax.sweeps import jobs
from im_jax.sweeps.cells import expand
from im_jax.sweeps.definition import KeepCheckpoints
from im_jax.sweeps.job import run_cell
from im_jax.sweeps.results import Result, ResultsFile
from im_jax.sweeps.slurm import Options, State, Submitit
from im_jax.sweeps.submitted import Submitted
from tests.conftest import REPOSITORY
from tests.sweeps.small import small_sweep, unchecked
from tests.training.tiny import tiny_config

SWEEP = small_sweep(seeds=(0,))
CELLS = expand(SWEEP)
ANSWER = {"status": "finished", "summary": {"step": 6, "seconds": 1.5}, "seconds": 2.0, "machine": {}}


class StandIn:
    """A queue that runs nothing: jobs are as the test says, and answer when they are told to."""

    def __init__(self) -> None:
        self.submitted: list[list[str]] = []
        self.known: dict[str, State] = {}
        self.given: dict[str, Mapping[str, Any]] = {}
        self.looks = 0
        self.silent = 0

    def submit(self, name: str, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        self.submitted.append([Path(request["workdir"]).name for request in requests])
        number = len(self.submitted)
        numbers = [f"{number}_{at}" for at in range(len(requests))] if requests[1:] else [str(number)]
        self.known |= dict.fromkeys(numbers, State("PENDING", "Priority"))
        return numbers

    def states(self, names: Collection[str]) -> Mapping[str, State]:
        self.looks += 1
        if self.looks <= self.silent:
            raise ProcessError("squeue does not answer: timed out")
        return self.known

    def answers(self, numbers: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        return {number: self.given[number] for number in numbers if number in self.given}

    def log(self, number: str) -> Path:
        return Path("slurm") / f"{number}.out"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_SECONDS", "_ASK_SECONDS", "_PATIENCE_SECONDS"):
        monkeypatch.setattr(jobs, name, 0.0)


def run(workdir: Path, queue: Any, **options: Any) -> str:
    """What is printed."""
    text = io.StringIO()
    sweep.run_jobs(SWEEP, CELLS, workdir, Options(**options), queue, Console(file=text))
    return text.getvalue()


def rows(workdir: Path) -> list[Result | None]:
    results = ResultsFile(workdir / "results.jsonl")
    return [results.get(cell.hash) for cell in CELLS]


class Interrupting(StandIn):
    """Ctrl-C comes while the jobs wait."""

    def answers(self, numbers: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        raise KeyboardInterrupt


def test_each_run_is_submitted_once_and_collected_by_the_same_command(tmp_path: Path) -> None:
    first, second, third = Interrupting(), StandIn(), StandIn()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    assert first.submitted == [[cell.directory(tmp_path).name for cell in CELLS]]
    assert rows(tmp_path) == [None] * 4

    second.given = {f"1_{at}": ANSWER | {"seconds": at} for at in range(4)}
    shown = run(tmp_path, second)
    assert "4 runs submitted before" in shown and second.submitted == []
    assert [(row.status.value, row.seconds) for row in rows(tmp_path) if row] == [
        ("finished", at) for at in range(4)
    ]

    assert "4 of them finished before" in run(tmp_path, third)
    assert third.submitted == [] and third.looks == 0


def test_ctrl_c_says_that_the_jobs_go_on(tmp_path: Path) -> None:
    text = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        sweep.run_jobs(SWEEP, CELLS, tmp_path, Options(), Interrupting(), Console(file=text))
    assert text.getvalue().splitlines()[-1] == "stopped; the jobs go on, and the same command collects them"


def test_a_failed_run_is_told_with_its_reason_and_submitted_again_by_the_next_command(tmp_path: Path) -> None:
    queue = StandIn()
    queue.given = {f"1_{at}": ANSWER for at in range(3)}
    queue.given["1_3"] = {"status": "failed", "error": "the loss is inf", "seconds": 1.0}
    assert "policy=it, examples=80, seed=0  failed in 1 s: the loss is inf" in run(tmp_path, queue)
    queue.given["2"] = ANSWER
    run(tmp_path, queue)
    assert queue.submitted[1:] == [[CELLS[3].directory(tmp_path).name]]
    assert [row.status.value for row in rows(tmp_path) if row] == ["finished"] * 4


def test_a_job_that_ended_without_an_answer_is_a_failure_that_names_it_and_its_log(tmp_path: Path) -> None:
    class Ends(StandIn):
        def states(self, names: Collection[str]) -> Mapping[str, State]:
            super().states(names)
            if (
                self.looks > 3
            ):  # one is out of memory, of two nobody knows any more, and the last had ended well
                self.known = {"1_0": State("OUT_OF_MEMORY"), "1_3": State("PREEMPTED")}
            if self.looks > 5:
                summary = {"step": 6, "seconds": 1.5}
                (CELLS[3].directory(tmp_path) / "summary.json").write_text(json.dumps(summary))
                self.known = {"1_3": State("COMPLETED")}
            return self.known

    run(tmp_path, Ends())
    known = rows(tmp_path)
    assert known[0] and known[0].error == (
        "job 1_0 ended as OUT_OF_MEMORY and gave no result; what its batch script printed is in slurm/1_0.out"
    )
    assert known[1] and "job 1_1 is not in the queue any more and gave no result" in known[1].error
    assert known[3] and known[3].status.value == "finished" and known[3].seconds == 1.5


def test_a_job_back_in_the_queue_and_a_queue_that_does_not_answer_are_waited_for(tmp_path: Path) -> None:
    class Requeues(StandIn):
        def states(self, names: Collection[str]) -> Mapping[str, State]:
            known = super().states(names)
            for at in range(4):
                state = {4: "RUNNING", 5: "PREEMPTED", 6: "PENDING"}.get(self.looks, "RUNNING")
                self.known[f"1_{at}"] = State(state, "QOSMaxJobsPerUserLimit")
            if self.looks == 9:
                self.given = {f"1_{at}": ANSWER for at in range(4)}
            return known

    queue = Requeues()
    queue.silent = 2
    shown = run(tmp_path, queue)
    assert shown.count("squeue does not answer: timed out; waiting until it does") == 1
    assert shown.count("jobs wait, 1_0 among them: QOSMaxJobsPerUserLimit") == 1
    assert [row.status.value for row in rows(tmp_path) if row] == ["finished"] * 4 and queue.looks == 10


@pytest.mark.parametrize("there", [True, False], ids=["submitted", "not submitted"])
def test_a_kill_before_the_numbers_are_written_submits_nothing_twice(tmp_path: Path, there: bool) -> None:
    Submitted(tmp_path / "slurm" / "jobs.jsonl").begin("im_jax-1", [cell.hash for cell in CELLS])
    queue = StandIn()
    queue.given = {f"{7 if there else 1}_{at}": ANSWER for at in range(4)}
    if there:  # one ended so long ago that the queue has forgotten it
        queue.known = {f"7_{at}": State("RUNNING") for at in (2, 1, 3)}
    run(tmp_path, queue)
    assert len(queue.submitted) == (0 if there else 1)
    assert [row.status.value for row in rows(tmp_path) if row] == ["finished"] * 4


def test_a_queue_that_does_not_answer_leaves_nobody_to_guess(tmp_path: Path) -> None:
    Submitted(tmp_path / "slurm" / "jobs.jsonl").begin("im_jax-1", [cell.hash for cell in CELLS])
    queue = StandIn()
    queue.silent = 1
    with pytest.raises(ProcessError, match="squeue does not answer"):
        run(tmp_path, queue)
    assert queue.submitted == []


def test_large_sweeps_are_several_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LARGEST_ARRAY", 3)
    queue = StandIn()
    queue.given = {number: ANSWER for number in ("1_0", "1_1", "1_2", "2")}
    run(tmp_path, queue)
    assert [len(part) for part in queue.submitted] == [3, 1]
    assert [row.status.value for row in rows(tmp_path) if row] == ["finished"] * 4


@pytest.mark.parametrize("keep", KeepCheckpoints)
def test_checkpoints_go_when_a_result_is_collected(tmp_path: Path, keep: KeepCheckpoints) -> None:
    queue = StandIn()
    queue.given = {f"1_{at}": ANSWER for at in range(4)}
    left = [cell.directory(tmp_path) / "checkpoints" for cell in CELLS]
    for path in left:
        path.mkdir(parents=True)
    kept = unchecked(small_sweep(seeds=(0,)), keep_checkpoints=keep)
    sweep.run_jobs(kept, CELLS, tmp_path, Options(), queue, Console(quiet=True))
    assert [path.exists() for path in left] == [keep is KeepCheckpoints.ALL] * 4


def test_runs_that_went_to_slurm_are_not_run_here_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupting())
    with pytest.raises(ConfigError, match="4 runs of this sweep went to Slurm: collect them by --executor"):
        sweep.run_cells(SWEEP, CELLS, tmp_path, [None], Console(quiet=True))


def test_a_list_shows_what_is_submitted_and_what_would_be(tmp_path: Path) -> None:
    submitted = Submitted(tmp_path / "jobs.jsonl")
    submitted.begin("im_jax-1", [CELLS[1].hash])
    submitted.submitted("im_jax-1", ["17"])
    submitted = Submitted(tmp_path / "jobs.jsonl")
    text = io.StringIO()
    options = Options({"partition": "a b", "exclusive": True}, parallel=2, save_seconds=60)
    results = ResultsFile(tmp_path / "results.jsonl")
    sweep.show_cells(SWEEP, CELLS, results, submitted, options, Console(file=text))
    lines = text.getvalue().splitlines()
    assert lines[0] == f"{CELLS[0].hash}  to run    {CELLS[0].name}"
    assert lines[1] == f"{CELLS[1].hash}  job 17    {CELLS[1].name}"
    assert lines[4:] == [
        "4 runs, 0 finished, 1 submitted, 3 to run",
        "sbatch '--partition=a b' --exclusive --signal=TERM@60 --requeue --array=0-2%2",
    ]


def test_a_damaged_list_of_jobs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    for line in ("{}", "[1]", '{"name": "a", "jobs": ["1"]}', "\xff"):
        path.write_bytes(line.encode("latin-1") + b"\n")
        with pytest.raises(ConfigError, match=r"jobs\.jsonl:1 is damaged: .*; once squeue shows no job"):
            Submitted(path)
    path.write_bytes(b'{"name": "a", "cells": ["x"]}\n{"name": "a", "jo')  # torn by a kill
    submitted = Submitted(path)
    submitted.submitted("a", ["5"])
    assert Submitted(path).going["x"].number == "5"


@pytest.mark.parametrize(
    ("code", "state", "restarts", "requeued"),
    [
        (42, "RUNNING", 0, True),
        (42, "RUNNING", 2, False),
        (42, "CANCELLED", 0, False),  # by `scancel`, or by Slurm, which puts it back itself
        (143, "RUNNING", 1, True),  # SIGTERM, before Python was up
        (1, "RUNNING", 0, False),
        (137, "RUNNING", 0, False),
        (0, "RUNNING", 0, False),
    ],
)
def test_the_batch_script_puts_only_a_stopped_run_back_into_the_queue(
    tmp_path: Path, code: int, state: str, restarts: int, requeued: bool
) -> None:
    for name, line in (
        ("squeue", f'[ "$2" = --jobs=7_1 ] && echo {state}'),
        ("scontrol", 'echo "$@"; exit 1'),
    ):
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    script = "\n".join(
        [f"(exit {code})", "", "# teardown", *Options(max_requeues=2).parameters("a")["teardown"]]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SLURM_JOB_ID": "8",
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "1",
            "SLURM_RESTART_COUNT": str(restarts),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "requeue 7_1\n" in done.stdout) == (code, requeued), done


class Local(Submitit):
    """submitit's own processes of this machine: what is alive runs."""

    def states(self, names: Collection[str]) -> Mapping[str, State]:
        return {job.job_id: State("RUNNING") for job in self.started if not job.done()}

    def submit(self, name: str, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        self.started = self._executor.map_array(run_cell, requests)
        return [job.job_id for job in self.started]


def test_runs_by_submitit_give_what_runs_here_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled_quickly: None
) -> None:
    """Through submitit's executor for this machine, in processes of their own; one of them fails."""
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "_PATIENCE_SECONDS", 30.0)
    axes = {"examples": {"48": {}, "lost": {"data.source": "jsonl", "data.path": "nowhere.jsonl"}}}
    made = small_sweep(seeds=(0,), axes=axes, plot=None)
    cells = expand(made)
    executor = submitit.LocalExecutor(tmp_path / "slurm")
    executor.update_parameters(timeout_min=10, stderr_to_stdout=True)
    sweep.run_jobs(made, cells, tmp_path, Options(), Local(executor, tmp_path / "slurm"), Console(quiet=True))
    good, bad = (ResultsFile(tmp_path / "results.jsonl").get(cell.hash) for cell in cells)
    assert good is not None and good.status.value == "finished" and good.machine["device"] == "cpu"
    metrics = (cells[0].directory(tmp_path) / "metrics.jsonl").read_text().splitlines()
    assert json.loads(metrics[-1])["step"] == 6 and good.summary["step"] == 6
    assert bad is not None and bad.status.value == "failed" and "nowhere.jsonl" in bad.error
    assert "error: " in (cells[1].directory(tmp_path) / "log.txt").read_text()


def test_sigterm_lets_a_job_save_and_end_with_the_code_that_puts_it_back(
    tmp_path: Path, compiled_quickly: None
) -> None:
    config = with_overrides(tiny_config(), {"train.steps": 100_000, "checkpoint.every": 0})
    request = {"config": flatten(config), "workdir": str(tmp_path), "log": str(tmp_path / "log.txt")}
    script = "import json, sys; from im_jax.sweeps.job import run_cell; run_cell(json.loads(sys.argv[1]))"
    command = [sys.executable, "-c", script, json.dumps(request)]
    job = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    try:
        end = time.monotonic() + 200
        metrics = tmp_path / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()) and time.monotonic() < end:
            time.sleep(0.1)
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 42
    finally:
        job.kill()
    (saved,) = (tmp_path / "checkpoints").iterdir()
    assert read_events(tmp_path / "events.jsonl")[-1].name is Happened.PREEMPTED
    log = (tmp_path / "log.txt").read_text()
    assert f"SIGTERM: step {saved.name} is saved; the same command goes on from there" in log
