"""Encoded sets on disk: found again, and made once."""

import contextlib
import datetime
import gzip
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from im_jax.activity import Unit
from im_jax.config import TurnsConfig
from im_jax.data.prepare import prepare
from im_jax.data.store import contents, key, listing
from im_jax.data.store.cache import cache_folder
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import policy_weights
from tests.data.store.kept import assert_same, config, kept, prepared
from tests.data.store.test_processes import _children


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
