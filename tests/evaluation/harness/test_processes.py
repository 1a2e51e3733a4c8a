"""The harness in the first of two processes finds what it finds in one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.evaluation.harness.loading import ready
from im_jax.evaluation.harness.running import run
from tests.conftest import REPOSITORY
from tests.evaluation.harness.check_processes import responses, wanted
from tests.evaluation.harness.local_data import write_local_data
from tests.evaluation.harness.made_model import opened, write_model
from tests.evaluation.harness.plain import plain_answers
from tests.evaluation.harness.test_harness import same

pytest.importorskip("lm_eval", reason="needs the extra `eval`")


def start(arguments: list[str], **environment: str) -> "subprocess.Popen[str]":
    settings = {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.evaluation.harness.check_processes", *arguments],
        cwd=REPOSITORY,
        env=os.environ | settings | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model, data = write_model(tmp_path / "model"), write_local_data(tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pod = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    output = tmp_path / "found.json"
    started = [start([str(model), str(data), str(output)], JAX_PROCESS_ID=str(n), **pod) for n in range(2)]
    alone = opened(model)
    with ready(wanted(data)) as loaded:
        found = run(alone, loaded, plain_answers(alone))
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert found is not None
    same(json.loads(output.read_text()), responses(found))
