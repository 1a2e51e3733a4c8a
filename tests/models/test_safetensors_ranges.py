"""Tensors of an object store are read as safetensors' own library reads them from a disk, and no more than needed."""

import importlib.util
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from im_jax.errors import CheckpointError
from im_jax.models.files.safetensors_folder import INDEX, open_file, open_tensors
from im_jax.models.files.safetensors_ranges import Ranges
from im_jax.stores import StorePath, readable
from tests.stand_in_gcs import StandIn, stand_in_asked

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed")
ARRAYS = {
    "a": np.arange(60, dtype=np.float32).reshape(5, 4, 3),
    "b": (np.arange(12) / 7).astype(ml_dtypes.bfloat16).reshape(6, 2),
    "c": np.arange(7, dtype=np.float16),
    "d": np.arange(4, dtype=np.uint8).reshape(2, 2),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with stand_in_asked() as store:
        yield store


@pytest.fixture
def folder(store: StandIn, tmp_path: Path) -> Path:
    """With two shards and their index, on the disk; `gs://bucket/model` is the same."""
    names = {"one.safetensors": ["a", "c", "empty"], "two.safetensors": ["b", "d", "scalar"]}
    for file, members in names.items():
        safetensors.numpy.save_file(
            {name: ARRAYS[name] for name in members}, tmp_path / file, {"format": "pt"}
        )
    index = {name: file for file, members in names.items() for name in members}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": index}))
    store.put_folder(tmp_path, "bucket/model")
    return tmp_path


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each range that is asked for from now on."""
    asked: list[int] = []
    ask = StorePath.read_range

    def read_range(path: StorePath, start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return ask(path, start, stop)

    monkeypatch.setattr(StorePath, "read_range", read_range)
    return asked


def test_any_part_of_any_tensor_is_that_of_the_library(folder: Path) -> None:
    rng = random.Random(0)
    with open_tensors(readable("gs://bucket/model")) as remote, open_tensors(folder) as local:
        assert remote.keys() == local.keys() == ARRAYS.keys()
        for name, tensor in local.items():
            assert (remote[name].shape, remote[name].dtype) == (tensor.shape, tensor.dtype)
            assert str(remote[name].file) == f"gs://bucket/model/{tensor.file.name}"
            for _ in range(20):
                bounds = [sorted(rng.choices(range(size + 1), k=2)) for size in tensor.shape]
                index = tuple(slice(*bound) for bound in bounds)
                found = remote[name].read(index)
                assert found.dtype == ARRAYS[name].dtype
                np.testing.assert_array_equal(found, ARRAYS[name][index])


def test_rows_are_read_alone_and_not_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_tensors(readable("gs://bucket/model")) as remote:
        asked = counted(monkeypatch)
        remote["a"].read((slice(1, 3), slice(0, 4), slice(0, 3)))
        assert asked == [2 * 4 * 3 * 4]
        for column in range(4):  # of as many devices
            remote["a"].read((slice(1, 3), slice(column, column + 1), slice(0, 3)))
        assert len(asked) == 1


def test_what_is_kept_of_ranges_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ranges, path = counted(monkeypatch), Ranges(most=10), readable("gs://bucket/model/one.safetensors")
    assert isinstance(path, StorePath)
    for start in (0, 6, 0, 6, 12, 6):  # of 6 bytes each, of which one is kept
        assert len(ranges.read(path, start, start + 6)) == 6
    assert len(asked) == 6
    assert ranges.read(path, 6, 12) and len(asked) == 6


def damaged(store: StandIn, content: bytes) -> str:
    store.put("bucket", "damaged/model.safetensors", content, {}, {})
    with (
        pytest.raises(CheckpointError) as caught,
        open_file(readable("gs://bucket/damaged/model.safetensors")),
    ):
        pytest.fail("opened")
    assert str(caught.value).startswith(
        "gs://bucket/damaged/model.safetensors: not a whole safetensors file: "
    )
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_header(header: Any, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def test_what_is_no_whole_file_is_named(store: StandIn, folder: Path) -> None:
    whole = (folder / "one.safetensors").read_bytes()
    assert re.search("has [0-9]+ bytes, and its header asks for", damaged(store, whole[:-1]))
    assert "its header would have" in damaged(store, whole[:20])
    assert "it has 3 bytes" in damaged(store, whole[:3])
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for header in (
        b"{",
        b"[1]",
        b"[" * 100_000,
        {"a": 3},
        {"a": entry | {"shape": [-2]}},
        {"a": entry | {"shape": [3]}},
        {"a": entry | {"data_offsets": [8, 0]}},
        {"a": entry | {"data_offsets": [-4, 4]}},
    ):
        assert "its header cannot be understood" in damaged(store, with_header(header, b"x" * 8))


def test_a_type_that_is_not_known_is_refused_where_it_is_read(store: StandIn) -> None:
    entry = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    store.put("bucket", "odd/model.safetensors", with_header({"a": entry}, b"xy"), {}, {})
    with open_file(readable("gs://bucket/odd/model.safetensors")) as tensors:
        assert tensors["a"].dtype == "F8_E4M3"
        with pytest.raises(CheckpointError, match="of type F8_E4M3; supported: "):
            tensors["a"].read((slice(0, 2),))


def test_a_shard_that_is_not_there_is_named(store: StandIn, folder: Path) -> None:
    del store.objects["bucket", "model/two.safetensors"]
    missing = r"^gs://bucket/model/two\.safetensors: missing; .* lists it"
    with (
        pytest.raises(CheckpointError, match=missing),
        open_tensors(readable("gs://bucket/model")),
    ):
        pytest.fail("opened")
