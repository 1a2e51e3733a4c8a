"""SIGTERM at one process of a real cluster, at every moment of a run."""

import os
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY

BEFORE = "preempted: stopped before the first step; nothing was lost"
SAVED = "preempted: training is over and saved; the same command measures what is left"


def run(moment: str) -> list[tuple[int, str, str]]:
    """Exit code and both outputs of each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.check_preemption", moment],
            cwd=REPOSITORY,
            env=os.environ | cluster | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.parametrize(("moment", "why"), [("before", BEFORE), ("saved", SAVED)])
def test_where_nothing_is_lost_all_leave_at_once(moment: str, why: str) -> None:
    began = time.monotonic()
    for code, shown, told in run(moment):
        assert code == 42, told
        assert shown == f"last words: 42 {why}\n"
        assert told.splitlines()[-1] == why
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("moment", ["first", "steps"])
def test_where_steps_have_begun_anywhere_all_stop_at_one_place(moment: str) -> None:
    (code, shown, told), other = run(moment)
    assert code == other[0] == 0, told + other[2]
    assert shown == other[1] and shown.startswith("reached at ")
