"""Encoded sets on disk: found again, made once, and never half there, whatever happens meanwhile."""

import contextlib
import datetime
import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.activity import Unit
from im_jax.config import Config, DataConfig, EvalConfig, TokenizerConfig, TurnsConfig
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.store import contents, encoding, folder, key, listing, sets, turns
from im_jax.data.store.cache import cache_folder
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import DataError, StorageError
from im_jax.losses.policy import policy_weights
from tests.data.store.test_processes import _children, _environment, _wait_for
from tests.data.store.test_processes import write as write_conversations

COUNT = 150


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Conversations, written long ago, of which a set is kept though they are few."""
    monkeypatch.setattr(sets, "_KEPT", 1)
    whole = write_conversations(tmp_path / "d.jsonl", {5: "no json"})
    whole.write_text("".join(whole.read_text().splitlines(keepends=True)[:COUNT]))
    os.utime(whole, (1e9, 1e9))
    return whole


def config(path: Path, **data: Any) -> Config:
    settings = {"source": "jsonl", "path": str(path), "max_length": 256, "on_bad_example": "skip"}
    settings |= {"cache": str(path.parent / "cache")}
    return Config(
        data=DataConfig(**settings | data),
        eval=EvalConfig(num_examples=50),
        tokenizer=TokenizerConfig(path="bytes"),
    )


def prepared(config: Config) -> Prepared:
    return prepare(config, make_tokenizer(tokenizer_path(config)), policy_weights("im"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every set that is encoded."""
    seen: list[int] = []
    before = sets.encode_all

    def counting(*args: Any) -> Any:
        seen.append(1)
        return before(*args)

    monkeypatch.setattr(sets, "encode_all", counting)
    return seen


def kept(config: Config) -> list[Path]:
    """The sets that are there as a whole, and nothing else beside them."""
    found = list((Path(config.data.cache) / "sets").iterdir())
    sets = [place for place in found if ".lock." not in place.name]
    assert all(len(place.name) == 64 for place in sets), found
    return sets


def assert_same(ours: Prepared, theirs: Prepared) -> None:
    assert ours.fingerprint() == theirs.fingerprint() and ours.as_dict() == theirs.as_dict()
    assert ours.report.summary("data") == theirs.report.summary("data")
    for rows, others in ((ours.train_rows, theirs.train_rows), (ours.heldout_rows, theirs.heldout_rows)):
        assert len(rows) == len(others)
        assert all(rows.ids(number) == others.ids(number) for number in range(0, len(rows), 10))
        for start in range(0, len(rows), 50):
            numbers = np.arange(start, min(start + 50, len(rows)))
            for field, other in zip(rows.batch(numbers), others.batch(numbers), strict=True):
                np.testing.assert_array_equal(field, other)


def test_a_second_start_encodes_nothing_and_is_the_same(path: Path, encoded: list[int]) -> None:
    plain = prepared(config(path, cache="none"))
    assert not (path.parent / "cache").exists()
    first, second = prepared(config(path)), prepared(config(path))
    assert len(encoded) == 2 and len(kept(config(path))) == 1
    assert_same(first, plain)
    assert_same(second, plain)
    assert second.report.skipped == [f"{path}:5: {plain.report.skipped[0].partition(': ')[2]}"]
    assert not second.notes


@pytest.mark.parametrize(
    "other",
    [
        {"max_length": 128},
        {"template": "chatml"},
        {"truncation": "keep_output"},
        {"drop_without_output": False},
        *({"turns": TurnsConfig(**{rule: "skip"})} for rule in vars(TurnsConfig())),
    ],
)
def test_what_decides_the_examples_is_another_set(other: Any, path: Path, encoded: list[int]) -> None:
    prepared(config(path))
    assert_same(prepared(config(path, **other)), prepared(config(path, cache="none", **other)))
    assert len(kept(config(path))) == 2 and len(encoded) == 3


@pytest.mark.parametrize("other", [{"seed": 3}, {"packing": "none"}, {"encoders": 1}, {"workers": 1}])
def test_what_is_done_with_examples_is_not(other: Any, path: Path, encoded: list[int]) -> None:
    prepared(config(path))
    assert_same(prepared(config(path, **other)), prepared(config(path, cache="none", **other)))
    assert len(kept(config(path))) == 1 and len(encoded) == 2


def test_a_set_is_found_by_content_under_another_name(path: Path, encoded: list[int]) -> None:
    prepared(config(path))
    moved = path.with_name("other.jsonl")
    shutil.copy(path, moved)
    found = prepared(config(moved, cache=str(path.parent / "cache")))
    assert len(encoded) == 1
    assert found.report.skipped[0].startswith(f"{moved}:5: ")
    names = {found.train[i].id for i in range(len(found.train))}
    assert any(name.startswith(f"{moved}:") for name in names) and not any(
        str(path) in name for name in names
    )


def test_other_contents_are_another_set_even_with_the_same_size(path: Path, encoded: list[int]) -> None:
    prepared(config(path))
    path.write_text(path.read_text().replace("apple", "peach"))
    assert_same(prepared(config(path)), prepared(config(path, cache="none")))
    assert len(kept(config(path))) == 2


def test_a_template_file_counts_by_its_text(path: Path, encoded: list[int]) -> None:
    text = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    template = path.with_name("t.jinja")
    template.write_text(text)
    prepared(config(path, template=str(template)))
    shutil.move(template, path.with_name("u.jinja"))
    prepared(config(path, template=str(path.with_name("u.jinja"))))
    assert len(encoded) == 1
    template.write_text(text.replace(": ", "> "))
    prepared(config(path, template=str(template)))
    assert len(encoded) == 2


def test_a_template_that_writes_the_date_is_encoded_anew_on_another_day(
    path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = path.with_name("t.jinja")
    text = "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    template.write_text(text)
    for _ in range(2):
        prepared(config(path, template=str(template)))
    assert len(encoded) == 1

    class Tomorrow(datetime.date):
        @classmethod
        def today(cls) -> Any:
            return datetime.date(2999, 1, 1)

    monkeypatch.setattr(key.datetime, "date", Tomorrow)
    prepared(config(path, template=str(template)))
    assert len(encoded) == 2


def test_an_old_file_is_not_read_to_find_its_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_FRESH_SECONDS", -1e12)  # its inode has just changed
    first = prepared(config(path))
    monkeypatch.setattr(contents, "_read", None)  # so that reading would fail
    assert prepared(config(path)).fingerprint() == first.fingerprint()


def test_digests_of_files_just_written_are_not_remembered(path: Path) -> None:
    path.write_text(path.read_text())
    prepared(config(path))
    assert not (path.parent / "cache" / "digests").exists()


def test_a_bar_counts_the_bytes_of_all_files(tmp_path: Path) -> None:
    """A packed one counts as it is, and the bar ends where it should."""
    text = "".join(json.dumps({"prompt": f"{n}?", "completion": "b"}) + "\n" for n in range(1200)).encode()
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text))
    seen: list[tuple[int | None, list[int]]] = []

    @contextlib.contextmanager
    def doing(what: str, total: int | None = None, unit: Unit = Unit.THINGS) -> Iterator[Any]:
        advances: list[int] = []
        if what.startswith("encoding"):
            assert unit is Unit.BYTES
            seen.append((total, advances))
        yield advances.append

    chosen = config(tmp_path / "a.jsonl", cache="none")
    chosen.data.path = f"{tmp_path}/a.jsonl,{tmp_path}/b.jsonl.gz"
    prepare(chosen, make_tokenizer("bytes"), policy_weights("im"), doing)
    size = sum((tmp_path / name).stat().st_size for name in ("a.jsonl", "b.jsonl.gz"))
    ((total, advances),) = seen
    assert total == size == sum(advances) and len(advances) == 6


def test_small_sets_are_not_kept(tmp_path: Path) -> None:
    small = tmp_path / "d.jsonl"
    small.write_text('{"prompt": "a", "completion": "b"}\n' * 400)
    prepared(config(small))
    assert not (tmp_path / "cache" / "sets").exists()


def test_opening_a_set_is_its_last_use(path: Path) -> None:
    prepared(config(path))
    (place,) = kept(config(path))
    os.utime(place, (1e9, 1e9))
    os.utime(place / "manifest.json", (1e9, 1e9))
    cache = Path(config(path).data.cache)
    assert [each.used for each in listing.cached_sets(cache)] == [1e9]
    prepared(config(path))
    assert time.time() - listing.cached_sets(cache)[0].used < 60


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest"])
def test_a_damaged_set_is_encoded_anew_with_a_note(harm: str, path: Path, encoded: list[int]) -> None:
    plain = prepared(config(path, cache="none"))
    prepared(config(path))  # and not held: what is mapped must not be cut off
    (place,) = kept(config(path))
    if harm == "truncate":
        os.truncate(place / "tokens.bin", 1000)
    elif harm == "remove":
        (place / "ids.numbers.bin").unlink()
    else:
        (place / "manifest.json").write_text("")
    second = prepared(config(path))
    assert len(encoded) == 3 and "encoded anew" in second.summary() and str(place) in second.summary()
    assert_same(second, plain)
    assert not prepared(config(path)).notes and len(encoded) == 3


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoding.ChunkEncoder.encode

    def changing(self: Any, chunk: Any) -> Any:
        path.write_text(path.read_text() + "\n")
        return before(self, chunk)

    monkeypatch.setattr(encoding.ChunkEncoder, "encode", changing)
    with pytest.raises(DataError, match=rf"{path}: has changed while it was read"):
        prepared(config(path))
    assert not kept(config(path))


def test_a_full_disk_is_one_line_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder.Joiner, "add", full)
    with pytest.raises(
        StorageError, match=r"No space left on device; free some room, or set --config\.data\.cache"
    ):
        prepared(config(path))
    left = [place.name for place in (path.parent / "cache" / "sets").iterdir()]
    assert all(".lock." in name for name in left)
    monkeypatch.undo()
    monkeypatch.setattr(sets, "_KEPT", 1)
    prepared(config(path))
    assert len(kept(config(path))) == 1


def test_a_cache_that_cannot_be_written_is_noted(path: Path, encoded: list[int]) -> None:
    (path.parent / "cache").write_text("a file")
    found = prepared(config(path))
    assert len(encoded) == 1
    assert "note: the encoded examples are not kept, since" in found.summary()
    assert "Not a directory" in found.summary()


def test_an_error_in_the_data_leaves_no_set(path: Path) -> None:
    with pytest.raises(DataError, match=rf"{path}:5: is not JSON"):
        prepared(config(path, on_bad_example="stop"))
    assert not [place for place in (path.parent / "cache" / "sets").iterdir() if place.is_dir()]


SCRIPT = """
import sys
from im_jax.data.store import encoding, sets
from tests.data.store.test_cache import config, prepared
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


def test_a_name_that_no_record_has_is_refused_at_every_start(path: Path) -> None:
    chosen = config(path)
    chosen.data.fields.system = "persona"
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"data\.fields\.system=persona: no record of .* fields found: 'messages'"
        ):
            prepared(chosen)


def test_where_sets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IM_JAX_CACHE", "/a")
    assert (
        cache_folder("") == Path("/a") and cache_folder("/b") == Path("/b") and cache_folder("none") is None
    )
    monkeypatch.setenv("IM_JAX_CACHE", "none")
    assert cache_folder("") is None
    monkeypatch.delenv("IM_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder("") == Path("/c/im_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("") == Path.home() / ".cache" / "im_jax"


def test_no_process_is_left(path: Path) -> None:
    prepared(config(path))
    assert not _children(os.getpid())
