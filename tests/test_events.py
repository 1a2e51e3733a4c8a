"""Events of runs: whole lines whatever happens, attempts that are counted, ends with their reasons."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from im_jax import recorder
from im_jax.errors import ConfigError, DataError, Interrupted, StorageError
from im_jax.events import Happened, file_of, read_events
from im_jax.recorder import Recorder
from tests.conftest import REPOSITORY

FLOOD = """
import pathlib, sys
from im_jax.events import Happened
from im_jax.recorder import Recorder
events = Recorder()
with events.attempt(pathlib.Path(sys.argv[1])):
    print("begun", flush=True)
    for step in range(10**9):
        events.add(Happened.STEP, step)
"""


def ended_by(workdir: Path, error: BaseException | None) -> tuple[str, str]:
    """How the events of an attempt end that raises."""
    try:
        with Recorder().attempt(workdir):
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    last = read_events(file_of(workdir, 0))[-1]
    return last.name.value, last.reason


def test_what_was_noted_before_there_was_a_place_is_written_first_with_its_time(tmp_path: Path) -> None:
    before = time.time()
    events = Recorder()
    events.add(Happened.JOINED, processes=2)
    between = time.time()
    time.sleep(0.01)
    with events.attempt(tmp_path, 3, agree=lambda number: number + 6), events.during(Happened.SAVE, 5):
        pass
    found = read_events(tmp_path / "events" / "3.jsonl")
    assert [(e.name.value, e.phase, e.step) for e in found] == [
        ("start", "", None),
        ("joined", "", None),
        ("save", "begin", 5),
        ("save", "end", 5),
        ("done", "", None),
    ]
    assert {(e.attempt, e.process, e.host) for e in found} == {(7, 3, os.uname().nodename)}
    assert before * 1e6 - 1 <= found[0].microseconds <= found[1].microseconds <= between * 1e6 + 1
    assert between * 1e6 + 9_000 < found[2].microseconds <= found[3].microseconds < time.time() * 1e6 + 1
    assert json.loads((tmp_path / "events" / "3.jsonl").read_text().splitlines()[1])["processes"] == 2


def test_a_kill_loses_no_whole_line_and_the_next_attempt_mends_the_last(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FLOOD, str(tmp_path)]
    writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"begun\n"
    time.sleep(0.2)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with file_of(tmp_path, 0).open("ab") as file:
        file.write(b'{"time": 17')  # as a full disk leaves it
    steps = [event.step for event in read_events(file_of(tmp_path, 0))[1:]]
    assert steps == list(range(len(steps))) and len(steps) > 100
    assert ended_by(tmp_path, None) == ("done", "")
    found = read_events(file_of(tmp_path, 0))
    assert [event.attempt for event in found[-3:]] == [1, 2, 2]
    assert len(found) == len(steps) + 3


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, ("done", "")),
        (Interrupted("preempted: step 5 is saved", 42), ("preempted", "preempted: step 5 is saved")),
        (Interrupted("Ctrl-C: step 5 is saved", 130), ("stopped", "Ctrl-C: step 5 is saved")),
        (KeyboardInterrupt(), ("stopped", "Ctrl-C")),
        (StorageError("the disk\nis full"), ("failed", "the disk is full")),
        (ZeroDivisionError("x" * 1000), ("failed", ("ZeroDivisionError: " + "x" * 1000)[:500])),
    ],
)
def test_an_attempt_ends_with_its_reason(
    tmp_path: Path, error: BaseException | None, end: tuple[str, str]
) -> None:
    assert ended_by(tmp_path, error) == end


def test_a_mistake_leaves_no_file_unless_there_is_a_run(tmp_path: Path) -> None:
    for process in (0, 2):
        with pytest.raises(ConfigError), Recorder().attempt(tmp_path, process):
            raise ConfigError("wrong")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "config.json").write_text("{}")
    assert ended_by(tmp_path, ConfigError("wrong")) == ("failed", "wrong")


def test_a_process_that_leaves_at_once_writes_so_from_any_thread(tmp_path: Path) -> None:
    events = Recorder()
    with events.attempt(tmp_path):
        words = threading.Thread(target=events.left, args=(143, "SIGTERM again"))
        words.start()
        words.join()
        found = read_events(file_of(tmp_path, 0))[-1]
        assert (found.name, found.reason) == (Happened.PREEMPTED, "SIGTERM again")


def test_a_silent_process_says_now_and_then_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_ALIVE_SECONDS", 0.02)
    with Recorder().attempt(tmp_path):
        until = time.monotonic() + 10
        while len(read_events(file_of(tmp_path, 0))) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert read_events(file_of(tmp_path, 0))[1].name is Happened.ALIVE


def test_two_processes_of_one_number_are_refused(tmp_path: Path) -> None:
    with (
        Recorder().attempt(tmp_path, 1),
        pytest.raises(ConfigError, match=r"another process writes .*events/1\.jsonl"),
        Recorder().attempt(tmp_path, 1),
    ):
        pass


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"7",
        b"\xff\xfe",
        b"",
        b"[" * 100_000,
        b'{"time": 1e999, "attempt": 1, "process": 0, "host": "a", "event": "step"}',
        b'{"time": 1.0, "attempt": 1, "process": 0, "host": "a", "event": "tea"}',
        b'{"time": 1.0, "attempt": 0, "process": 0, "host": "a", "event": "step"}',
        b'{"time": 1.0, "attempt": 1, "process": 0, "host": "a", "event": "step", "step": "x"}',
    ],
)
def test_what_is_no_event_is_named_by_line_and_stops_no_run(tmp_path: Path, line: bytes) -> None:
    ended_by(tmp_path, None)
    with file_of(tmp_path, 0).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match=r"events\.jsonl:3.*take the line out"):
        read_events(file_of(tmp_path, 0))
    with Recorder().attempt(tmp_path):
        pass
    assert b'"attempt": 2' in file_of(tmp_path, 0).read_bytes().splitlines()[-1]
