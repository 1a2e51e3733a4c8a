"""Encoding in processes: the same arrays whatever their number, the first bad record, and no process left."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.config import DataConfig, TurnsConfig
from im_jax.data.files import File, chunks
from im_jax.data.prepare import Encoder
from im_jax.data.store import processes
from im_jax.data.store.chunk import Job
from im_jax.data.store.processes import encoded_by_processes
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import DataError, ProcessError
from im_jax.losses.policy import policy_weights
from tests.data.synthetic import chats

COUNT = 2600  # six chunks: more than are encoded here


@functools.cache
def _records() -> str:
    return json.dumps([{"messages": messages} for messages in chats(COUNT)])


def write(path: Path, changed: dict[int, Any] | None = None) -> Path:
    """Conversations, some with weights, some too long, some without an answer left; and some changed lines."""
    records: list[Any] = json.loads(_records())
    for number in range(0, COUNT, 7):
        records[number]["messages"][-1]["weight"] = 0.5
        records[number]["id"] = f"name-{number}"
    for number in range(3, COUNT, 100):
        records[number]["messages"][0]["content"] = "word " * 100
    lines = [json.dumps(record) for record in records]
    for number, line in (changed or {}).items():
        lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")
    return path


def encoder(path: str = "bytes", **settings: Any) -> Encoder:
    data = DataConfig(**{"source": "jsonl", "max_length": 256, **settings})
    tokenizer = make_tokenizer(path)
    template = make_template(data.template, tokenizer)
    return Encoder(data, template, tokenizer, policy_weights("it"), tokenizer_path=path)


def test_any_number_of_processes_gives_the_same_arrays(tmp_path: Path, small_bpe: Any) -> None:
    del small_bpe
    path = write(tmp_path / "d.jsonl", {5: "no json", 900: "{}"})
    found = [
        encoder(encoders=count, on_bad_example="skip").encode_files([File(str(path))], "data.path")
        for count in (1, 2, 3)
    ]
    (one, report), *others = found
    assert len(one) > 2000 and report.without_output and report.truncated and len(one.weights)
    assert [message.split(": ")[0] for message in report.skipped] == [f"{path}:5", f"{path}:900"]
    for dataset, counts in others:
        assert list(dataset.ids) == list(one.ids)
        for name in vars(one):
            if name != "ids":
                ours, theirs = getattr(dataset, name), getattr(one, name)
                assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes(), name
        assert counts.as_dict() == report.as_dict() and counts.skipped == report.skipped


def test_choices_on_turns_are_the_same_in_any_process(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    changed = {number: {"messages": said[1:] + said} for number in range(50, COUNT, 500)}
    changed |= {number: {"messages": said[:1] + said} for number in range(60, COUNT, 500)}
    changed |= {number: {"messages": said + said[:1]} for number in range(70, COUNT, 500)}
    path = write(tmp_path / "d.jsonl", {number: json.dumps(record) for number, record in changed.items()})
    turns = TurnsConfig(first_assistant="drop_turn", repeated="merge", last_user="skip")
    (one, report), (two, counts) = (
        encoder(encoders=count, turns=turns).encode_files([File(str(path))], "data.path") for count in (1, 2)
    )
    assert one.fingerprint() == two.fingerprint() and counts.as_dict() == report.as_dict()
    assert sorted(report.turn_choices.values()) == [6, 6] and report.left_out_by_turns.total() == 6
    assert report.total == COUNT


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_bad_record_in_order_is_the_error(count: int, tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", {1400: '{"prompt": "", "completion": "x"}', 2500: "{", 2599: "{"})
    with pytest.raises(DataError, match=rf"{path}:1400: .*=skip leaves such out"):
        encoder(encoders=count).encode_files([File(str(path))], "data.path")


@pytest.mark.parametrize("count", [1, 2])
def test_a_damaged_file_is_told_after_the_records_before_it(count: int, tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"there is no file .*missing\.jsonl"):
        encoder(encoders=count).encode_files(
            [File(str(good)), File(str(tmp_path / "missing.jsonl"))], "data.path"
        )
    bad = write(tmp_path / "b.jsonl", {2400: "{"})
    with pytest.raises(DataError, match=rf"{bad}:2400:"):
        encoder(encoders=count).encode_files(
            [File(str(bad)), File(str(tmp_path / "missing.jsonl"))], "data.path"
        )


def test_small_sets_are_encoded_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(write(path).read_text().splitlines()[:2000]))
    monkeypatch.setattr(processes, "_COMMAND", ("no such program",))
    assert len(encoder().encode_files([File(str(path))], "data.path")[0])


def test_a_killed_process_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl")
    found = encoded_by_processes(Job(encoder().data, "bytes"), chunks([File(str(path))], "data.path"), 2)
    next(found)
    for process in _children(os.getpid()):
        os.kill(process, signal.SIGKILL)
    with pytest.raises(ProcessError, match=r"killed by signal 9.*data\.encoders=1"):
        list(found)
    assert not _children(os.getpid())


SCRIPT = """
import sys
import jax  # as in a notebook: threads are there, so nothing may fork
jax.numpy.zeros(2) + 1
from tests.data.store.test_processes import encoder
from im_jax.data.files import File
data, report = encoder(encoders=2).encode_files([File(sys.argv[1])] * int(sys.argv[2]), "data.path")
print(len(data), "jax" in sys.modules)
"""


def test_scripts_need_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = write(tmp_path / "d.jsonl")
    done = subprocess.run(
        [sys.executable, script, path, "1"], capture_output=True, text=True, env=_environment()
    )
    assert done.stdout.endswith("True\n"), done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = write(tmp_path / "d.jsonl")
    process = subprocess.Popen(
        [sys.executable, script, path, "2000"], env=_environment(), stderr=subprocess.DEVNULL
    )
    try:
        assert (workers := _wait_for(lambda: _children(process.pid)))
        process.send_signal(how)
        began = time.monotonic()
        assert process.wait(30) != 0
        assert _wait_for(lambda: not any(map(_is_alive, workers)))
        assert time.monotonic() - began < 20
    finally:
        process.kill()


def _wait_for(condition: Any) -> Any:
    until = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "JAX_PLATFORMS": "cpu"}


def _children(parent: int) -> list[int]:
    """Worker processes of another one."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and "im_jax.data.store.worker" in command:
            found.append(int(status.parent.name))
    return found


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_load_no_jax() -> None:
    code = (
        "import sys, im_jax.data.store.worker; print([m for m in ('jax', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert done.stdout == "[]\n", done.stderr


def test_arrays_are_as_they_are_at_any_time(tmp_path: Path) -> None:
    data, _ = encoder().encode_files([File(str(write(tmp_path / "d.jsonl")))], "data.path")
    assert np.array_equal(data.lengths, np.diff([*data.starts, len(data.tokens)]))
