"""A run and its surroundings: signals, a full disk, a second process, files that vanish."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from im_jax.pods.ledger import read_ledger
from tests.conftest import REPOSITORY

COMMAND = [
    sys.executable,
    "-m",
    "im_jax.train",
    "--config=configs/cpu_debug.py",
    "--config.train.batch_size=4",
    "--config.model.num_layers=2",
    "--config.model.embed_dim=32",
    "--config.model.mlp_dim=64",
    "--config.data.num_generated=100",
    "--config.eval.num_examples=0",
    "--config.eval.every=0",
    "--config.log.every=1",
    "--config.log.tensorboard=false",
    "--config.checkpoint.every=100000",
]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}


def start(workdir: Path, *flags: str) -> "subprocess.Popen[str]":
    """A run, in a group of its own, that hears Ctrl-C also where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*COMMAND, f"--workdir={workdir}", *flags],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    return process


def wait_for(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Read standard output up to a line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    assert process.stderr is not None
    pytest.fail(f"no line {beginning!r}: {process.stderr.read()}")


def communicate(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Both outputs of a run, which is not left behind if it does not end."""
    try:
        return process.communicate(timeout=60)
    finally:
        process.kill()


def steps(workdir: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def latest(workdir: Path) -> int:
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped by Ctrl-C, between checkpoints; a second one was refused meanwhile."""
    workdir = tmp_path_factory.mktemp("interrupted") / "run"
    run = start(workdir, "--config.train.steps=1000000")
    wait_for(run, "step 3/")
    second = start(workdir, "--config.train.steps=1000000")
    _, refused = communicate(second)
    assert second.returncode == 2
    assert refused.startswith(
        f"error: --workdir={workdir}: process {run.pid} on {os.uname().nodename} is at work"
    )
    assert len(refused.splitlines()) == 1

    os.killpg(run.pid, signal.SIGINT)
    shown, told = communicate(run)
    assert run.returncode == 130
    assert "Ctrl-C: saving after this step, then stopping; once more leaves at once" in shown
    assert told == f"Ctrl-C: step {latest(workdir)} is saved; the same command goes on from there\n"
    return workdir


@pytest.mark.parametrize(("after", "seconds"), [("policy", 0.0), ("data:", 2.0)])
def test_control_c_before_the_first_step_is_one_line_at_once(
    tmp_path: Path, after: str, seconds: float
) -> None:
    run = start(tmp_path / "run", "--config.model.num_layers=8", "--config.train.steps=1000000")
    wait_for(run, after)
    time.sleep(seconds)  # building the run, then compiling it, which takes more than fifteen
    run.send_signal(signal.SIGINT)
    asked = time.monotonic()
    _, told = communicate(run)
    assert run.returncode == 130
    assert told == "Ctrl-C: stopped before the first step; nothing was lost\n"
    if after == "data:":
        assert read_ledger(tmp_path / "run").attempts[-1].ended == "stopped"
    assert time.monotonic() - asked < 10


def test_second_control_c_leaves_at_once_whatever_the_run_is_doing(tmp_path: Path) -> None:
    program = (
        "import signal, sys, ctypes\n"
        "from im_jax.interruption import Interruption\n"
        "with Interruption(lambda text: print(text, flush=True)) as interruption:\n"
        "    interruption.ask_first()\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        ctypes.CDLL(None).pause()\n"  # in C, where Python's handlers do not run for long
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    wait_for(run, "ready")
    run.send_signal(signal.SIGINT)
    wait_for(run, "Ctrl-C: saving after this step")
    run.send_signal(signal.SIGTERM)
    _, told = run.communicate(timeout=10)
    assert run.returncode == 128 + signal.SIGTERM
    assert told == "SIGTERM again: left without saving; the same command goes on from the last checkpoint\n"


def test_deleted_checkpoints_and_a_deleted_workdir_are_said(interrupted: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(interrupted, workdir)
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "summary.json").write_text("{}")
    lost = start(workdir, "--config.train.steps=1000000")
    _, told = communicate(lost)
    assert lost.returncode == 2
    assert told.startswith(
        f"error: {workdir} holds a run that trained {steps(workdir)[-1]} steps, but no checkpoint"
    )

    (workdir / "summary.json").unlink()
    anew = start(workdir, "--config.train.steps=1000000")
    wait_for(anew, f"{workdir} has numbers of ")
    wait_for(anew, "step 2/")
    shutil.rmtree(workdir)
    _, told = communicate(anew)
    assert anew.returncode == 1
    assert len(told.splitlines()) == 1
    assert ".jsonl cannot be written: it was removed while it is written; there is no checkpoint" in told
