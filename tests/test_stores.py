"""Files of records in an object store are read as those of a disk, against a stand-in for Google Cloud Storage."""

import importlib.util
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.config import Config
from im_jax.data.files import BadRecord, Record, chunks, located
from im_jax.data.prepare import prepare
from im_jax.data.store.cache import cache_folder
from im_jax.data.tokenizers import make_tokenizer
from im_jax.errors import ConfigError, DataError, StorageError, UserError
from im_jax.losses.policy import make_policy
from im_jax.stores import StorePath, paths, readable, waiting
from tests.data.files.test_formats import RECORDS, as_array, as_lines, packed
from tests.data.synthetic import chats
from tests.stand_in_gcs import StandIn, stand_in_asked

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed")


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with stand_in_asked() as store:
        yield store


@pytest.fixture
def put(store: StandIn, request: pytest.FixtureRequest) -> Any:
    """Writes objects below a folder of the test's own; gives that."""
    folder = f"{request.node.name.partition('[')[0]}-{abs(hash(request.node.name))}"

    def write(**named: bytes) -> str:
        for name, content in named.items():
            store.put("bucket", f"{folder}/{name}", content, {}, {})
        return f"gs://bucket/{folder}"

    return write


def read(joined: str) -> list[Record | BadRecord]:
    return [
        record for chunk in chunks(located(joined, "data.path"), "data.path", 2) for record in chunk.records()
    ]


@pytest.mark.parametrize("packing", ["", "gzip", "zstd"])
@pytest.mark.parametrize(("content", "unit"), [(as_lines(RECORDS), ""), (as_array(RECORDS), "element ")])
def test_json_is_read_alike_wherever_ranges_end(
    content: bytes, unit: str, packing: str, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(**{"a.txt": packed(content, packing)})
    expected = [Record(f"{folder}/a.txt:{unit}{n}", record) for n, record in enumerate(RECORDS, 1)]
    for size in (1 << 20, 64):
        monkeypatch.setattr(paths, "_BUFFER", size)
        assert read(f"{folder}/a.txt") == expected


def test_rows_of_parquet_are_read_a_range_at_a_time(
    put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_BUFFER", 256)
    monkeypatch.setattr(paths, "_PIECE", 100)  # several pieces of a range at once
    rows = [{"text": "x" * n, "number": n} for n in range(50)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a", row_group_size=7)
    folder = put(**{"a.parquet": (tmp_path / "a").read_bytes()})
    assert [record.value for record in read(f"{folder}/a.parquet") if isinstance(record, Record)] == rows


def test_names_globs_and_folders_mean_what_they_mean_on_a_disk(put: Any) -> None:
    one = as_lines(RECORDS[:1])
    folder = put(
        **{
            "data/train-00000-of-00002.jsonl": one,
            "data/train-00001-of-00002.jsonl": one,
            "data/test-00000-of-00001.jsonl": one,
            "data/.hidden/train-00002-of-00002.jsonl": one,
            "other/deep/b.jsonl": one,
            "carded/x.jsonl": one,
            "carded/y.jsonl": one,
            "carded/README.md": b"---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: y*\n---\n",
        }
    )

    def names(joined: str) -> list[str]:
        return [file.path.removeprefix(folder) for file in located(joined, "data.path")]

    shards = ["/data/train-00000-of-00002.jsonl", "/data/train-00001-of-00002.jsonl"]
    assert names(f"{folder}/data") == names(f"{folder}/data/train-*") == shards
    assert names(f"{folder}/**/b.jsonl, {folder}/carded") == ["/other/deep/b.jsonl", "/carded/y.jsonl"]
    with pytest.raises(DataError, match=r"names 'gs://.*b\.jsonl' again"):
        names(f"{folder}/other/*/b.jsonl,{folder}/other/deep/b.jsonl")
    with pytest.raises(DataError, match=r"^data\.path: no file matches 'gs://\S+/\*\.csv'"):
        names(f"{folder}/*.csv")
    with pytest.raises(DataError, match=r"the folder 'gs://\S+/data' has no split 'validation'; it has "):
        located(f"{folder}/data", "data.path", ("validation",))


def config_of(path: str, cache: Path) -> Config:
    config = Config()
    config.data.path, config.data.source, config.data.cache = path, "jsonl", str(cache)
    config.data.max_length = 512
    return config


def test_a_set_is_encoded_once_for_each_content_whatever_it_is_called(
    put: Any, store: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = as_lines({"messages": chat} for chat in chats(1200))
    folder = put(**{"a.jsonl": content})
    (tmp_path / "a.jsonl").write_bytes(content)
    asked: list[int] = []
    ask = StorePath.read_range

    def counted(path: StorePath, start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return ask(path, start, stop)

    monkeypatch.setattr(StorePath, "read_range", counted)

    def prepared(path: str) -> Any:
        return prepare(
            config_of(path, tmp_path / "cache"), make_tokenizer("bytes"), make_policy(Config().loss).largest()
        )

    remote = prepared(f"{folder}/a.jsonl")
    assert sum(asked) >= len(content)
    asked.clear()
    again, local = prepared(f"{folder}/a.jsonl"), prepared(str(tmp_path / "a.jsonl"))
    assert not asked, "its digest is remembered, and the set is mapped"
    assert len(list((tmp_path / "cache" / "sets").iterdir())) == 1
    assert remote.train.fingerprint() == again.train.fingerprint() == local.train.fingerprint()
    assert again.train[0].id == f"{folder}/a.jsonl:{local.train[0].id.rpartition(':')[2]}"
    put(**{"a.jsonl": content.replace(b"What", b"Whom")})
    assert prepared(f"{folder}/a.jsonl").train.fingerprint() != remote.train.fingerprint()


def test_what_changes_while_it_is_read_is_refused(
    put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = as_lines({"messages": chat} for chat in chats(1200))
    folder = put(**{"a.jsonl": content})
    ask, times = StorePath.read_range, iter(range(1000))

    def changed(path: StorePath, start: int, stop: int) -> bytes:
        if next(times) == 2:
            put(**{"a.jsonl": content})  # the same bytes: another object all the same
        return ask(path, start, stop)

    monkeypatch.setattr(paths, "_BUFFER", 1 << 16)
    monkeypatch.setattr(StorePath, "read_range", changed)
    with pytest.raises(DataError, match=r"^gs://\S+/a\.jsonl: has changed while it was read"):
        prepare(
            config_of(f"{folder}/a.jsonl", tmp_path),
            make_tokenizer("bytes"),
            make_policy(Config().loss).largest(),
        )


def refused(path: str) -> UserError:
    with pytest.raises(UserError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return caught.value


def test_what_is_not_there_is_named_bucket_or_object(
    put: Any, store: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(**{"a.jsonl": b"{}"})
    assert str(refused(f"{folder}/b.jsonl")) == (
        f"data.path: there is no file '{folder}/b.jsonl'; correct --config.data.path"
    )
    monkeypatch.setattr(store, "missing", {"nowhere"})
    assert str(refused("gs://nowhere/b.jsonl")) == (
        "gs://nowhere/b.jsonl: there is no bucket 'nowhere'; correct it; gcloud storage ls shows yours"
    )


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        (401, r"cannot be read without credentials \(.*\); log in: gcloud auth application-default login", 2),
        (403, r"give the account of this machine roles/storage\.objectViewer on the bucket$", 2),
        (400, r"start again once the store can be reached$", 1),
    ],
)
def test_a_store_that_refuses_says_what_to_do(
    code: int,
    message: str,
    exit_code: int,
    put: Any,
    store: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = put(**{"a.jsonl": b"{}"})
    monkeypatch.setattr(store, "refuse", lambda method, bucket, name: code)
    error = refused(f"{folder}/a.jsonl")
    assert str(error).startswith(f"{folder}/a.jsonl cannot be read")
    with pytest.raises(type(error), match=message):
        raise error
    assert error.exit_code == exit_code and isinstance(error, ConfigError | StorageError)
    assert not capfd.readouterr().err, "no traceback of a library's log"


def test_that_a_store_does_not_answer_is_told_once(
    put: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "_SILENT_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "_waiting", waiting._Waiting())
    for name in ("a", "b"):
        with waiting.patiently(readable(f"gs://bucket/{name}")):
            time.sleep(0.3)
    told = capsys.readouterr().err
    assert told.startswith("gs://bucket/a: no answer for 0.05 s;") and told.count("\n") == 1
    assert readable(f"{put(a=b'1')}/a").read_bytes() == b"1"
    time.sleep(0.1)
    assert not capsys.readouterr().err, "what answers is not told"


def test_a_range_that_came_short_is_told(put: Any) -> None:
    path = readable(f"{put(a=b'123')}/a")
    assert isinstance(path, StorePath) and path.read_range(1, 3) == b"23"
    with pytest.raises(StorageError, match=r"has changed while it was read"):
        path.read_range(1, 7)


def test_other_stores_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^ftp://host/a is nothing that can be read; .*gs://"):
        readable("ftp://host/a")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package fsspec, .*: pip install 'im_jax\[gs\]'"):
        readable("gs://bucket/a")


def test_a_path_of_a_store_is_a_path(put: Any) -> None:
    path = readable(f"{put(**{'b/c.txt': b'x'})}/b/c.txt")
    assert pickle.loads(pickle.dumps(path)) == path == path.resolve() == path.parent / "c.txt"
    assert str(path.parent).startswith("gs://bucket/") and path.suffix == ".txt"
    assert path.parent.is_dir() and not path.parent.is_file() and not (path.parent / "d").exists()
    assert str(path.relative_to(path.parent.parent)) == "b/c.txt"
    with pytest.raises(OSError, match="is only read"):
        path.write_text("y")


def test_a_cache_is_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^data\.cache=gs://bucket/cache is not on this machine's disks"):
        cache_folder("gs://bucket/cache")
    monkeypatch.setenv("IM_JAX_CACHE", "gs://bucket/cache")
    with pytest.raises(ConfigError, match=r"^IM_JAX_CACHE=gs://bucket/cache is not"):
        cache_folder("")
