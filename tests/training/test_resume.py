"""A run that is killed, not stopped, and started again equals one that was never interrupted; its events tell."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.pods.ledger import read_ledger
from tests.conftest import REPOSITORY

STEPS = 40
KILL_AFTER = 15
COMMAND = [
    sys.executable,
    "-m",
    "im_jax.train",
    "--config=configs/cpu_debug.py",
    f"--config.train.steps={STEPS}",
    "--config.train.batch_size=4",
    "--config.loss.neftune_alpha=5",  # random numbers in every step
    "--config.model.num_layers=2",
    "--config.model.embed_dim=32",
    "--config.model.mlp_dim=64",
    "--config.data.num_generated=100",
    "--config.eval.num_examples=10",
    "--config.eval.every=0",
    "--config.checkpoint.every=6",
    "--config.log.every=1",
]


def rows(workdir: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl without the numbers that depend on the clock."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timing = ("tokens_per_second", "step_time", "model_flops_utilisation")
    return [{k: v for k, v in json.loads(line).items() if k not in timing} for line in lines]


def start(workdir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, f"--workdir={workdir}"], cwd=REPOSITORY, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )


def kill_in_the_middle(workdir: Path) -> int:
    """Kill a run once it has logged KILL_AFTER steps; returns the last step it logged."""
    process = start(workdir)
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n") >= KILL_AFTER):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return int(rows(workdir)[-1]["step"])


def test_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert start(whole).wait() == 0
    reached = kill_in_the_middle(interrupted)
    assert KILL_AFTER <= reached < STEPS
    assert start(interrupted).wait() == 0

    resumed = json.loads((interrupted / "summary.json").read_text())["resumed_from"]
    assert 0 < resumed <= reached
    ledger = read_ledger(interrupted)
    assert [attempt.ended for attempt in ledger.attempts] == ["killed", "done"]
    assert [attempt.went_on_from for attempt in ledger.attempts] == [0, resumed]
    assert ledger.steps_kept == STEPS and reached - resumed <= ledger.steps_wasted <= reached - resumed + 1
    assert all(spent > 0 for spent in ledger.microseconds.values()), "each account has its part"
    # A resumed run logs its own first step too; with log.every=1 that is no extra row.
    assert rows(interrupted) == rows(whole)
    states = [
        ocp.load_checkpointables(
            (workdir / "checkpoints" / str(STEPS)).resolve(),
            {"params": None, "optimizer": None, "data": None},
        )
        for workdir in (whole, interrupted)
    ]
    for a, b in zip(*(jax.tree.leaves(state) for state in states), strict=True):
        np.testing.assert_array_equal(a, b)
