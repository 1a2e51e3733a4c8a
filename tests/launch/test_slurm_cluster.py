"""Jobs of `launch/slurm/submit.sh` on a real Slurm of this machine: `./launch/test.sh -m slurm` (as root; installs it)."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.launch.slurm_cluster import asked, install, running, until

pytestmark = pytest.mark.slurm


class Slurm:
    def __init__(self, path: Path, variables: dict[str, str]) -> None:
        self.path, self.variables = path, variables

    def submit(self, name: str, *command: str, processes: int = 2, devices: int = 1) -> str:
        """The number of the job."""
        options = [f"--name={name}", f"--processes_per_node={processes}", f"--devices={devices}"]
        done = subprocess.run(
            [REPOSITORY / "launch/slurm/submit.sh", *options, f"--output={self.path}", "--", *command],
            cwd=REPOSITORY,
            env={**self.variables, "PATH": "/usr/sbin:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()[-1]

    def shown(self, job: str, field: str) -> str:
        found = re.search(rf"{field}=(\S+)", asked(self.variables, "scontrol", "show", "job", job))
        return found[1] if found is not None else ""

    def end(self, job: str) -> str:
        """Waits until the job is over; how it ended."""
        until(lambda: self.shown(job, "JobState") in ("COMPLETED", "FAILED", "CANCELLED"))
        return self.shown(job, "JobState")

    def output(self, name: str, job: str) -> str:
        return (self.path / f"{name}-{job}.log").read_text()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    install()
    path = tmp_path_factory.mktemp("slurm")
    with running(path) as variables:
        yield Slurm(path, variables)


def test_two_tasks_train_as_one_cluster(slurm: Slurm) -> None:
    small = ["--config.train.steps=2", "--config.train.batch_size=8", "--config.data.num_generated=200"]
    small += [
        "--config.eval.num_examples=0",
        "--config.mesh.distributed=require",
        f"--workdir={slurm.path}/run",
    ]
    train = [sys.executable, "-m", "im_jax.train", "--config=configs/cpu_debug.py", *small]
    job = slurm.submit("train", *train, devices=2)
    assert slurm.end(job) == "COMPLETED", slurm.output("train", job)
    summary = json.loads((slurm.path / "run" / "summary.json").read_text())
    assert summary["devices"] == 4


def test_a_run_that_saved_goes_back_into_the_queue(slurm: Slurm) -> None:
    job = slurm.submit(
        "save",
        "bash",
        "-c",
        'echo "try ${SLURM_RESTART_COUNT:-0}"; [ "${SLURM_RESTART_COUNT:-0}" = 1 ] || exit 42',
    )
    assert slurm.end(job) == "COMPLETED"
    assert slurm.shown(job, "Restarts") == "1"
    output = slurm.output("save", job)
    assert output.count("try 0\n") == output.count("try 1\n") == 2


def test_a_failure_beside_a_lost_peer_does_not(slurm: Slurm) -> None:
    job = slurm.submit("fail", "bash", "-c", '[ "$SLURM_PROCID" = 0 ] && exit 1; exit 43')
    assert slurm.end(job) == "FAILED"
    assert slurm.shown(job, "Restarts") == "0" and slurm.shown(job, "ExitCode") == "1:0"


SAVES = "trap 'echo got; sleep 1; echo saved; exit 42' TERM; echo up; while :; do sleep 0.1; done"


@pytest.mark.parametrize("how", [["--signal=TERM"], []], ids=["a signal", "cancelled"])
def test_a_signal_comes_once_and_a_cancelled_job_stays_cancelled(slurm: Slurm, how: list[str]) -> None:
    job = slurm.submit("stop", "bash", "-c", SAVES)
    until(lambda: (slurm.path / f"stop-{job}.log").exists() and slurm.output("stop", job).count("up\n") == 2)
    asked(slurm.variables, "scancel", *how, job)
    if how:
        until(lambda: slurm.shown(job, "JobState") == "PENDING")
        assert slurm.shown(job, "Restarts") == "1"
        asked(slurm.variables, "scancel", job)
    assert slurm.end(job) == "CANCELLED"
    output = slurm.output("stop", job)
    assert output.count("got\n") == output.count("saved\n") == 2
