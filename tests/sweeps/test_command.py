"""The command as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from im_jax import hardware
from tests.conftest import REPOSITORY

needs_two_cores = pytest.mark.skipif((hardware.cores() or 1) < 2, reason="two workers need two cores")

SWEEP = """
from im_jax.sweeps.definition import over
from tests.sweeps.small import small_sweep

TIERS = ("small", "broken")


def get_sweep(tier: str = "small"):
    sweep = small_sweep(seeds=(0,))
    if tier == "broken":
        sweep.axes["examples"]["lost"] = {"data.source": "jsonl", "data.path": "nowhere.jsonl"}
    return sweep
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "small.py"
    path.write_text(SWEEP)
    return path


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "im_jax.sweep", *arguments]
    alone = {**os.environ, "PATH": "/nowhere"}  # without Slurm
    return subprocess.run(command, cwd=REPOSITORY, env=alone, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "model.path=MODEL: there is no such file or folder; set --config.model.path=PATH"),
        (
            ("--config.model.path=.", "--config.tokenizer.path=none.json"),
            "tokenizer.path=none.json: there is no such file or folder; set --config.tokenizer.path=PATH",
        ),
        (
            ("--config.model.path=.", "--config.tokenizer.path=bytes", "--config.data.path=none.jsonl"),
            "data.path: there is no file 'none.jsonl'; correct --config.data.path",
        ),
    ],
)
def test_what_no_run_could_begin_without_is_refused_once(
    flags: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = sweep("--config=configs/study/ratio.py", f"--workdir={tmp_path}", "--noevaluate", *flags)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].endswith(message)
    assert not list(tmp_path.glob("runs/*"))


def test_sweep_runs_reports_and_goes_on_where_it_stopped(path: Path, tmp_path: Path) -> None:
    arguments = (f"--config={path}", f"--workdir={tmp_path}", "--config.log.every=3")
    listed = sweep(*arguments, "--dry_run")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[-1] == "4 runs, 0 finished, 4 to run"
    assert list(tmp_path.iterdir()) == []

    failed = sweep(*arguments, "--tier=broken")
    assert failed.returncode == 1
    assert "failed: policy=im, examples=lost, seed=0: " in failed.stderr and "nowhere.jsonl" in failed.stderr
    assert failed.stderr.splitlines()[-1] == "2 runs failed; the same command tries again"
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["finished", "finished", "failed"] * 2
    metrics = (next(tmp_path.glob("runs/im-40-*")) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [1, 3, 6, 6], "the flag reached the runs"
    assert "## Failed runs" in (tmp_path / "report.md").read_text()
    directories = sorted(p.name[:-9] for p in (tmp_path / "runs").iterdir())
    assert directories == [f"{policy}-{n}-seed0" for policy in ("im", "it") for n in ("40", "80", "lost")]
    assert not list(tmp_path.glob("runs/*/checkpoints/*")), "finished runs keep none by default"

    (tmp_path / "report.md").unlink()
    done = sweep(*arguments)
    assert done.returncode == 0, done.stderr
    assert "4 runs, 4 of them finished before" in done.stdout and "begins" not in done.stdout
    text = (tmp_path / "report.md").read_text()
    assert (
        f"- Command: `python -m im_jax.sweep --config={path} --workdir={tmp_path} --config.log.every=3`"
        in text
    )
    assert "- Runs: 4: 4 finished, 0 failed, 0 not run yet" in text
    assert "In every pair both runs saw the same examples" in text
    assert (tmp_path / "figures" / "heldout.nll_assistant.png").is_file()

    (tmp_path / "report.md").unlink()
    again = sweep(*arguments, "--report_only")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "report.md").is_file()


@needs_two_cores
def test_two_workers_have_half_of_the_cores_each(path: Path, tmp_path: Path) -> None:
    done = sweep(f"--config={path}", f"--workdir={tmp_path}", "--workers=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" begins") == 2
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["finished"] * 4
    assert {row["machine"]["cores"] for row in rows} == {(hardware.cores() or 1) // 2}
    assert len({row["hash"] for row in rows}) == 4
    assert "- Runs: 4: 4 finished, 0 failed" in (tmp_path / "report.md").read_text()


@needs_two_cores
def test_control_c_ends_all_workers(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "im_jax.sweep", f"--config={path}", f"--workdir={tmp_path}"]
    # Where tests run in the background of a script, Ctrl-C is ignored, and children would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    going = subprocess.Popen(
        [*command, "--workers=2", "--config.train.steps=1000000"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as that of a terminal's command
    )
    signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + 200
        while len(list(tmp_path.glob("runs/*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(list(tmp_path.glob("runs/*/metrics.jsonl"))) == 2
        os.killpg(going.pid, signal.SIGINT)
        output, _ = going.communicate(timeout=60)
        assert going.returncode == 130
        assert "stopped; the same command goes on from here" in output
        assert not (tmp_path / "results.jsonl").exists()
        with pytest.raises(ProcessLookupError):  # nobody is left in the group
            os.killpg(going.pid, 0)
    finally:
        going.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "error: no sweep given; set --config=FILE"),
        (("--config=configs/cpu_debug.py",), "configs/cpu_debug.py has no get_sweep(); files in configs/sweeps/ do"),
        (("--config=SWEEP", "--tier=large"), "error: --tier=large: SWEEP has small, broken\n"),
        (
            ("--config=SWEEP", "--config.loss.policy=all"),
            "error: SWEEP: --config.loss.policy has no effect: axis policy sets it; leave it out\n",
        ),
        (
            ("--config=SWEEP", "--config.mesh.fsdp", "1", "--tier=small", "--config.loss.polcy=im"),
            "error: config.loss.polcy: no such field; did you mean config.loss.policy",
        ),
        (("--config=SWEEP", "--workers=0"), "error: --workers=0: give 1 or more\n"),
        (("--config=SWEEP", "--workers=100000"), "error: --workers=100000: each worker needs a core of its own, and this machine has "),
        (("--config=SWEEP", "--time=10"), "error: --time has no effect on this machine; leave it out, or set --executor=slurm\n"),
        (("--config=SWEEP", "--executor=slurm", "--workers=2"), "error: --workers has no effect in Slurm; leave it out, or set --parallel=N "),
        (("--config=SWEEP", "--executor=slurm", "--parallel=0"), "error: --parallel=0: give 1 or more\n"),
        (("--config=SWEEP", "--executor=slurm", "--sbatch=nodes=2"), "error: --sbatch=nodes: the sweep sets nodes itself; leave it out\n"),
        (("--config=SWEEP", "--executor=slurm", "--mem=2G", "--sbatch=mem=1G"), "error: --sbatch=mem=1G: mem is given twice\n"),
        (("--config=SWEEP", "--executor=slurm"), "error: --executor=slurm: sbatch is not installed; use a machine of a Slurm cluster\n"),
        (("--config=SWEEP", "--report_only", "--workdir=nowhere"), "error: nowhere/results.jsonl has no results to report; run the sweep first\n"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = sweep(*(argument.replace("SWEEP", str(path)) for argument in arguments))
    assert done.returncode == 2
    assert message.replace("SWEEP", str(path)) in done.stderr
    assert len(done.stderr.splitlines()) == 1
