"""Encoded sets on disk are never half there, whatever is damaged, full, or changes meanwhile."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from im_jax.data.store import encoding, folder, sets
from im_jax.errors import DataError, StorageError
from tests.data.store.kept import assert_same, config, kept, prepared


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


def test_a_name_that_no_record_has_is_refused_at_every_start(path: Path) -> None:
    chosen = config(path)
    chosen.data.fields.system = "persona"
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"data\.fields\.system=persona: no record of .* fields found: 'messages'"
        ):
            prepared(chosen)
