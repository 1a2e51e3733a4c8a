"""A child answers, says what became of it, and never outlives the one that asks."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from im_jax.child_process import Child, ChildError, environment
from tests.conftest import REPOSITORY

SCRIPT = """
import multiprocessing, os, sys, time
from im_jax import child_process

def answer(request):
    print("noise from a library")
    if "sleep" in request:
        open(request["sleep"], "w").close()
        time.sleep(600)
    if "exit" in request:
        print("last words", file=sys.stderr, flush=True)
        os._exit(request["exit"])
    if "garbage" in request:
        os.write(answers, b'{"cut": ')
        os._exit(0)
    if "fork" in request:
        forked = multiprocessing.get_context("fork").Process(target=print)
        forked.start()
        forked.join(20)
        return {"fork": forked.exitcode}
    return request | {"pid": os.getpid()}

answers = os.dup(1)
child_process.serve(answer)
"""


@pytest.fixture
def errors() -> Iterator[IO[str]]:
    with tempfile.TemporaryFile("w+") as file:
        yield file


def start(errors: IO[str]) -> Child:
    return Child([sys.executable, "-c", SCRIPT], environment(), errors)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_answers_come_one_by_one_and_noise_stays_out_of_them(errors: IO[str]) -> None:
    child = start(errors)
    assert child.ask({"text": "→\n\x1b"}) == {"text": "→\n\x1b", "pid": child.pid}
    assert child.ask({"a": 2}) == {"a": 2, "pid": child.pid}
    child.end(patience=30)
    assert not child.is_alive()
    errors.seek(0)
    assert errors.read().count("noise from a library") == 2


def test_what_it_forks_runs(errors: IO[str]) -> None:
    child = start(errors)
    assert child.ask({"fork": 1}) == {"fork": 0}
    child.end()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"exit": 3}, "the process ended with exit code 3"),
        ({"garbage": 1}, "which is no JSON"),
    ],
)
def test_what_became_of_it_is_said(request_: dict[str, int], reason: str, errors: IO[str]) -> None:
    child = start(errors)
    with pytest.raises(ChildError, match=reason):
        child.ask(request_)
    assert not child.is_alive()
    with pytest.raises(ChildError):
        child.ask({})
    child.end()


def test_one_that_is_killed_is_named_by_its_signal(errors: IO[str], tmp_path: Path) -> None:
    child = start(errors)

    def kill() -> None:
        if (tmp_path / "asleep").exists():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ChildError, match="killed by signal 9, as when memory runs out"):
        child.ask({"sleep": str(tmp_path / "asleep")}, waiting=kill)


def test_one_that_takes_too_long_is_ended(errors: IO[str], tmp_path: Path) -> None:
    child = start(errors)
    child.ask({})
    with pytest.raises(ChildError, match=r"took longer than 0.2 seconds"):
        child.ask({"sleep": str(tmp_path / "asleep")}, limit=0.2)
    assert not child.is_alive()


def test_ctrl_c_is_for_the_one_that_asks(errors: IO[str]) -> None:
    child = start(errors)
    child.ask({})
    os.kill(child.pid, signal.SIGINT)
    assert child.ask({})["pid"] == child.pid
    child.end()


def test_it_ends_in_the_middle_of_work_with_the_one_that_asks(tmp_path: Path) -> None:
    asking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from im_jax.child_process import Child, environment\n"
            "child = Child([sys.executable, '-c', sys.argv[1]], environment(), sys.stderr)\n"
            "print(child.pid, flush=True)\n"
            "child.ask({'sleep': sys.argv[2]})\n",
            SCRIPT,
            str(tmp_path / "asleep"),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    deadline = time.monotonic() + 60
    while not (tmp_path / "asleep").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    asking.kill()
    asking.communicate()
    assert is_gone(pid)
