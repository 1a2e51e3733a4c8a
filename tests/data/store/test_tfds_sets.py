"""TFDS data sets are encoded once, in several processes, and found again by what is in their files."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from im_jax import data_report
from im_jax.config import Config
from im_jax.data import tfds_source
from im_jax.data.builders import dataset
from im_jax.data.store import sets
from im_jax.errors import DataError
from tests.data.store.kept import assert_same, config, kept, prepared
from tests.data.synthetic import chats

COUNT = 300


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of conversations, one without an answer, and the TFDS data set of the others."""
    folder = tmp_path_factory.mktemp("tfds")
    made = [{"id": f"c{i}", "messages": chat} for i, chat in enumerate(chats(COUNT))]
    file = folder / "d.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in made))
    dataset.prepare(str(file), folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, of which a set is kept though it is small."""
    monkeypatch.setattr(sets, "_KEPT", 1)
    return Path(shutil.copytree(written, tmp_path / "set"))


def of_tfds(folder: Path, **data: Any) -> Config:
    settings: dict[str, Any] = {"source": "tfds", "name": "instruction_jsonl", "on_bad_example": "stop"}
    return config(folder, **settings | data)


def test_a_second_start_encodes_nothing_and_is_the_same(folder: Path, encoded: list[int]) -> None:
    files = prepared(config(folder / "d.jsonl", cache="none"))
    first, second = prepared(of_tfds(folder)), prepared(of_tfds(folder))
    assert len(encoded) == 2 and len(kept(of_tfds(folder))) == 1
    for found in (first, second):
        assert_same(found, files)
        assert not found.notes


def test_it_is_found_wherever_the_data_set_is(folder: Path, encoded: list[int]) -> None:
    prepared(of_tfds(folder))
    moved = Path(shutil.move(folder, folder.with_name("elsewhere")))
    prepared(of_tfds(moved))
    assert len(encoded) == 1


def test_another_split_and_other_contents_are_other_sets(
    folder: Path, encoded: list[int], tmp_path: Path
) -> None:
    prepared(of_tfds(folder))
    part = prepared(of_tfds(folder, split="train[:50%]"))
    assert len(part.train) + len(part.heldout) == COUNT // 2
    other = tmp_path / "other"
    other.mkdir()
    text = (folder / "d.jsonl").read_text().replace('"c0"', '"other"')
    (folder / "e.jsonl").write_text(text)
    dataset.prepare(str(folder / "e.jsonl"), other)
    cache = str(tmp_path / "cache")
    found = prepared(of_tfds(other, cache=cache))
    assert len(encoded) == 3 and len(kept(of_tfds(folder))) == 3
    ids = {view[i].id for view in (found.train, found.heldout) for i in range(len(view))}
    assert "other" in ids and "c0" not in ids


def test_records_are_read_in_several_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = prepared(of_tfds(folder, cache="none"))
    monkeypatch.setattr(tfds_source, "CHUNK", 40)
    read_here: list[int] = []
    monkeypatch.setattr(tfds_source, "_opened", lambda *_: read_here.append(1))
    assert_same(prepared(of_tfds(folder, encoders=2)), one)
    assert not read_here


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_a_damaged_file_is_one_line(harm: str, folder: Path) -> None:
    (file,) = folder.glob("instruction_jsonl/*/*array_record*")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:70_000])
    else:
        file.unlink()
    with pytest.raises(
        DataError, match=r"^instruction_jsonl/1.1.0/train:0: cannot be read .*; copy the data set"
    ) as e:
        prepared(of_tfds(folder))
    assert "\n" not in str(e.value)


def test_it_is_prepared_beforehand_though_it_is_small(
    written: Path, tmp_path: Path, encoded: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = of_tfds(written, cache=str(tmp_path / "cache"))
    data_report.keep(chosen)
    assert re.search(
        rf"^{COUNT} examples, .* tokens: {tmp_path}/cache/sets/\w{{64}}, encoded",
        capsys.readouterr().out,
        re.M,
    )
    prepared(chosen)
    assert len(encoded) == 1
