"""Eight devices, or several processes, train what one device or one process trains."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from im_jax.cluster.joining import join_cluster
from im_jax.config import Config, MeshConfig
from im_jax.errors import ConfigError
from im_jax.events import ENDS, Happened, read_events
from im_jax.mesh import mesh_shape
from im_jax.pods.ledger import read_ledger
from tests.conftest import REPOSITORY
from tests.subprocess_devices import run_on_devices

COMMAND = [
    sys.executable,
    "-m",
    "im_jax.train",
    "--config=configs/cpu_debug.py",
    "--config.train.steps=40",
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


def test_sharded_steps_equal_unsharded_ones() -> None:
    output = run_on_devices("tests.training.check_sharded_step", devices=8)
    assert output.count("equal") == 4 and "summed in bfloat16: near" in output
    assert "noise: the same bits" in output and "skipped: the same bits" in output


def test_noise_and_divergence_on_meshes_equal_one_device() -> None:
    output = run_on_devices("tests.training.check_sharded_divergence", devices=8)
    assert output.count("equal") == 3


def start_pod(
    workdir: Path,
    *flags: str,
    processes: int = 2,
    devices: int = 4,
    folders: Sequence[Path] = (),
) -> list[subprocess.Popen[str]]:
    """A real pod of some processes with some devices each, each started in its folder if there are any."""
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (free, other)]
    return [
        start(
            workdir,
            devices,
            *flags,
            folder=folders[process] if folders else REPOSITORY,
            JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{ports[0]}",
            IM_JAX_ROLL_CALL_PORT=str(ports[1]),
            JAX_NUM_PROCESSES=str(processes),
            JAX_PROCESS_ID=str(process),
        )
        for process in range(processes)
    ]


def start(
    workdir: Path, devices: int, *more: str, folder: Path = REPOSITORY, **environment: str
) -> subprocess.Popen[str]:
    flags = ["--config.train.steps=4", "--config.train.batch_size=8", "--config.checkpoint.every=0"]
    flags += [f"--workdir={workdir}", "--config.mesh.tensor=4"]
    flags += ["--config.model.vocab_size=260", "--config.model.num_kv_heads=4"]  # in four parts
    own_data = any(word.startswith("--config.data.path") for word in more)
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.Popen(
        [*(word for word in COMMAND if not (own_data and "num_generated" in word)), *flags, *more],
        cwd=folder,
        env=os.environ | settings | {"PYTHONPATH": str(REPOSITORY)} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def numbers(workdir: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    timing = ("tokens_per_second", "step_time", "model_flops_utilisation")
    return [{k: v for k, v in row.items() if k not in (*timing, "split")} for row in rows]


def ids_by_step(workdir: Path, processes: int) -> dict[tuple[int, int], Counter[str]]:
    """The ids that were read in each step and epoch, by all processes, each of which has read some."""
    found: dict[tuple[int, int], Counter[str]] = {}
    for process in range(processes):
        lines = (workdir / "examples" / f"{process}.jsonl").read_text().splitlines()
        for line in map(json.loads, lines):
            found.setdefault((line["epoch"], line["step"]), Counter()).update(line["ids"])
    assert len(list((workdir / "examples").iterdir())) == processes
    return found


def test_processes_train_what_one_does_and_each_reads_its_own(tmp_path: Path) -> None:
    """Eight devices in one process, in two, and in four, of which two have each row in common."""
    steps = ("--config.train.steps=9", "--config.log.examples", "--config.log.tensorboard=false")
    layouts = {1: 8, 2: 4, 4: 2}
    for processes, devices in layouts.items():
        for process in start_pod(tmp_path / str(processes), *steps, processes=processes, devices=devices):
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    alone = ids_by_step(tmp_path / "1", 1)
    for processes in (2, 4):
        workdir = tmp_path / str(processes)
        for pod_row, row in zip(numbers(workdir), numbers(tmp_path / "1"), strict=True):
            assert pod_row == pytest.approx(row, rel=1e-5)
        assert json.loads((workdir / "summary.json").read_text())["devices"] == 8
        assert ids_by_step(workdir, processes) == alone
    first_epoch: Counter[str] = sum((ids for (epoch, _), ids in alone.items() if epoch == 1), Counter())
    assert max(epoch for epoch, _ in alone) > 1, "the first is over"
    assert len(first_epoch) == 90 and set(first_epoch.values()) == {1}, "each example once"


def happened(workdir: Path, event: Happened, attempt: int) -> bool:
    """Whether the first process has come so far in an attempt."""
    events = read_events(workdir / "events.jsonl")
    return any(each.name is event and each.attempt == attempt for each in events)


def preempted(pod: list[subprocess.Popen[str]], when: Callable[[], bool]) -> list[str]:
    """Send SIGTERM to the second host once something is so; what each process said at its end, all with 42."""
    deadline = time.monotonic() + 300
    while not when():
        assert time.monotonic() < deadline and pod[1].poll() is None
        time.sleep(0.05)
    pod[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=300)[1] for process in pod]
    assert [process.returncode for process in pod] == [42, 42], said
    return said


def saved_step(workdir: Path) -> int:
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_preempted_pod_ends_with_42_whatever_it_is_doing_and_goes_on(tmp_path: Path) -> None:
    """SIGTERM at one host, as a preemption sends it: while it compiles, evaluates, and trains."""
    flags = ("--config.train.steps=400", "--config.optimizer.schedule=constant", "--config.eval.every=3")
    flags += ("--config.data.num_generated=1600", "--config.eval.num_examples=1400")

    said = preempted(start_pod(tmp_path, *flags), lambda: happened(tmp_path, Happened.COMPILE, 1))
    assert all("preempted: stopped before the first step; nothing was lost" in each for each in said)
    assert list((tmp_path / "checkpoints").iterdir()) == []

    said = preempted(start_pod(tmp_path, *flags), lambda: happened(tmp_path, Happened.EVALUATION, 2))
    assert saved_step(tmp_path) == 3, "the evaluation was not waited for"
    assert "preempted: step 3 is saved; the same command goes on from there" in said[0]
    assert [row["step"] for row in numbers(tmp_path)] == [1, 2, 3]

    preempted(start_pod(tmp_path, *flags), lambda: len(numbers(tmp_path)) > 4)
    reached = saved_step(tmp_path)
    assert 3 < reached < 400
    rows = [(row["step"], "grad_norm" in row) for row in numbers(tmp_path)]
    assert [step for step, trained in rows if trained] == list(range(1, reached + 1))
    measured = [step for step, trained in rows if not trained]
    assert measured == [step for step in range(3, reached + 1, 3) if step != reached or step in measured]

    ledger = read_ledger(tmp_path)
    assert [a.ended for a in ledger.attempts] == ["preempted"] * 3
    assert [a.went_on_from for a in ledger.attempts] == [0, 0, 3]
    assert (ledger.steps_kept, ledger.steps_wasted) == (reached, 0)
    others = [(e.attempt, e.name) for e in read_events(tmp_path / "events" / "1.jsonl") if e.name in ENDS]
    assert others == [(attempt, Happened.PREEMPTED) for attempt in (1, 2, 3)]


def test_mesh_covers_all_devices_or_says_how() -> None:
    assert mesh_shape(MeshConfig(), 8) == (1, 8, 1)
    assert mesh_shape(MeshConfig(tensor=2), 8) == (1, 4, 2)
    for config in (MeshConfig(fsdp=3), MeshConfig(tensor=3), MeshConfig(fsdp=16), MeshConfig(fsdp=0)):
        with pytest.raises(ConfigError, match=r"does not cover the 8 devices here.*or mesh\.fsdp=-1"):
            mesh_shape(config, 8)
    with pytest.raises(ConfigError, match=r"mesh\.tensor=0 must be 1 or more"):
        mesh_shape(MeshConfig(tensor=0), 8)


def test_batch_that_the_mesh_cannot_divide_is_one_line(tmp_path: Path) -> None:
    command = [*COMMAND, "--config.train.batch_size=12", f"--workdir={tmp_path}"]
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "train.batch_size=12 is not divisible by 8" in done.stderr.splitlines()[-1]


def test_incomplete_cluster_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1234")
    with pytest.raises(ConfigError, match="JAX_NUM_PROCESSES=''"):
        join_cluster(Config())
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "5")
    with pytest.raises(ConfigError, match="JAX_PROCESS_ID=5 must be below JAX_NUM_PROCESSES=2"):
        join_cluster(Config())
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "nonsense")
    with pytest.raises(ConfigError, match="nonsense has no port"):
        join_cluster(Config())
