"""One process of several encodes a set, and another takes over where it was killed."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from im_jax.data.store import turns
from im_jax.errors import DataError
from tests.data.store.kept import assert_same, config, kept, prepared
from tests.data.store.test_processes import _environment, _wait_for

SCRIPT = """
import sys
from im_jax.data.store import encoding, sets
from tests.data.store.kept import config, prepared
from pathlib import Path
before = encoding.ChunkEncoder.encode
def slow(self, chunk):
    import time
    Path(sys.argv[2]).open("a").write("chunk\\n")
    time.sleep(float(sys.argv[3]))
    return before(self, chunk)
encoding.ChunkEncoder.encode = slow
sets._KEPT = 1
data = prepared(config(Path(sys.argv[1])))
print(data.fingerprint(), data.report.kept)
"""


def _start(path: Path, seconds: float) -> "subprocess.Popen[str]":
    script = path.with_name("script.py")
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(path), str(path.with_name("log")), str(seconds)]
    return subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, text=True)


def test_of_processes_that_start_at_once_one_encodes(path: Path) -> None:
    processes = [_start(path, 0.2) for _ in range(3)]
    said = {process.communicate(timeout=120)[0] for process in processes}
    assert len(said) == 1 and said.pop().split()[0] == prepared(config(path)).fingerprint()
    assert path.with_name("log").read_text().count("chunk") == 1
    assert len(kept(config(path))) == 1


def test_what_a_killed_process_left_is_made_anew_at_once(path: Path) -> None:
    process = _start(path, 100)
    assert _wait_for(lambda: path.with_name("log").exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((path.parent / "cache" / "sets").iterdir())
    began = time.monotonic()
    found = prepared(config(path))
    assert time.monotonic() - began < turns.STALE_SECONDS / 2
    assert_same(found, prepared(config(path, cache="none")))
    assert len(kept(config(path))) == 1


def test_a_lock_of_another_host_is_taken_over_when_it_stands_still(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(turns, "STALE_SECONDS", 0.5)
    stem = tmp_path / "key.lock"
    lock = tmp_path / "key.lock.1"
    told = {"host": "elsewhere", "boot": "x", "pid": 1, "state": "working", "count": 1}
    lock.write_text(json.dumps(told))
    waiting, other = turns.Waiting(stem), turns.Waiting(stem)
    for count in range(2, 6):  # longer than that, but it counts
        lock.write_text(json.dumps(told | {"count": count}))
        assert waiting.take() is None and other.take() is None
        time.sleep(0.2)
    time.sleep(0.6)
    held = [each.take() for each in (waiting, other)]
    assert held[0] is not None and held[1] is None
    with held[0]:
        held[0].done()
    assert not list(tmp_path.iterdir())


def test_who_waits_is_told_what_was_wrong(tmp_path: Path) -> None:
    stem = tmp_path / "key.lock"
    holder, waiting = turns.Waiting(stem).take(), turns.Waiting(stem)
    assert holder is not None and waiting.take() is None
    with pytest.raises(DataError), holder:
        raise DataError("line 7")
    assert waiting.failure() == "line 7"
    assert turns.Waiting(stem).failure() is None  # a later start tries again
    assert turns.Waiting(stem).take() is not None


def test_many_that_want_a_lock_get_it_one_after_the_other(tmp_path: Path) -> None:
    taken: list[int] = []

    def want() -> None:
        waiting = turns.Waiting(tmp_path / "key.lock")
        while (held := waiting.take()) is None:
            time.sleep(0.01)
        with pytest.raises(ValueError), held:
            taken.append(len(taken))
            count = len(taken)
            time.sleep(0.02)
            assert len(taken) == count
            raise ValueError

    threads = [threading.Thread(target=want) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 5
