"""A sweep on a real Slurm of this machine: `./launch/test.sh -m slurm` (as root; installs it)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.launch.slurm_cluster import asked, install, running, until

pytestmark = pytest.mark.slurm

SWEEP = """
from im_jax.sweeps.definition import over
from tests.sweeps.small import small_sweep


def get_sweep():
    return small_sweep(seeds=(0,), axes={"policy": over("loss.policy", "im", "it")}, plot=None)
"""


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    install()
    with running(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


def start(variables: dict[str, str], workdir: Path, *arguments: str) -> subprocess.Popen[str]:
    (workdir / "sweep.py").write_text(SWEEP)
    command = [
        sys.executable,
        "-m",
        "im_jax.sweep",
        f"--config={workdir / 'sweep.py'}",
        f"--workdir={workdir}",
    ]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
    started = subprocess.Popen(
        [*command, "--executor=slurm", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **variables, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    return started


def test_jobs_outlive_who_collects_are_put_back_and_collected(
    variables: dict[str, str], tmp_path: Path
) -> None:
    # Long enough to be stopped, with nothing saved but what a job that is stopped saves itself.
    flags = ["--config.train.steps=1500", "--config.checkpoint.every=0", "--config.log.every=1000"]
    flags += ["--cpus_per_task=2", "--partition=test", "--parallel=1", "--time=10", "--mem=0"]
    first = start(variables, tmp_path, *flags)
    until(lambda: any(path.read_text() for path in tmp_path.glob("runs/*/metrics.jsonl")))
    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 130 and "stopped; the jobs go on, and the same command collects them" in out
    assert "2 runs submitted as im_jax-" in out

    def states() -> dict[str, str]:
        shown = asked(variables, "squeue", "--noheader", "--array", "--states=all", "--format=%i %T")
        return dict(line.split() for line in shown.splitlines())

    (job,) = (number for number, state in states().items() if state == "RUNNING")
    asked(variables, "scancel", "--signal=TERM", job)  # as before its time is up
    until(lambda: states()[job] == "PENDING")

    second = start(variables, tmp_path, *flags)
    out, err = second.communicate(timeout=500)
    assert second.returncode == 0, (out, err)
    assert "2 runs submitted before" in out and "submitted as" not in out
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sorted((row["labels"]["policy"], row["status"]) for row in rows) == [
        ("im", "finished"),
        ("it", "finished"),
    ]
    by_policy = {row["labels"]["policy"]: row["summary"]["resumed_from"] for row in rows}
    assert by_policy["im"] > 0 and by_policy["it"] == 0
    logs = [path.read_text() for path in tmp_path.glob("runs/*/log.txt")]
    assert sum("SIGTERM: step" in log and "resuming from step" in log for log in logs) == 1
    assert not list(tmp_path.glob("runs/*/checkpoints/*"))

    third = start(variables, tmp_path, *flags)
    out, err = third.communicate(timeout=100)
    assert third.returncode == 0 and "2 runs, 2 of them finished before" in out, (out, err)
    assert len(states()) == 2


def test_what_sbatch_refuses_is_said(variables: dict[str, str], tmp_path: Path) -> None:
    started = start(variables, tmp_path, "--partition=nowhere")
    _, err = started.communicate(timeout=100)
    assert started.returncode == 2
    last = err.splitlines()[-1]  # behind what sbatch says itself
    assert last.startswith("error: sbatch refuses: ") and "invalid partition" in last


def test_a_cancelled_job_is_a_failure_and_submitted_again(variables: dict[str, str], tmp_path: Path) -> None:
    flags = ("--config.train.steps=1000000", "--sbatch=comment=a b")
    started = start(variables, tmp_path, *flags)
    until(lambda: any(path.read_text() for path in tmp_path.glob("runs/*/metrics.jsonl")))
    asked(variables, "scancel", "--state=RUNNING", "--user=root")
    asked(variables, "scancel", "--state=PENDING", "--user=root")
    _, err = started.communicate(timeout=300)
    assert started.returncode == 1
    assert "ended as CANCELLED and gave no result" in err and "log.txt" in err
    assert err.splitlines()[-1] == "2 runs failed; the same command tries again"
