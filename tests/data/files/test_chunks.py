"""Files come in chunks that another process can decode, complete and in order."""

import gzip
import json
import pickle
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.config import FieldNames
from im_jax.data.files import BadRecord, Chunk, File, Record, chunks, located
from im_jax.data.records import NameCheck, conversation_of
from im_jax.errors import DataError


def sent(found: Iterable[Chunk]) -> list[list[Record | BadRecord]]:
    """The records of each chunk, decoded from what another process would be sent."""
    return [list(pickle.loads(pickle.dumps(chunk)).records()) for chunk in found]


def write(path: Path, values: Iterable[Any]) -> Path:
    text = "\n".join(json.dumps(value) for value in values).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_every_record_is_in_one_chunk_with_its_place(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", range(7))
    second = write(tmp_path / "b.jsonl.gz", range(7, 9))
    files = located(f"{first}, {second}", "data.path")
    assert files == [File(str(first)), File(str(second))]
    parts = sent(chunks(files, "data.path", size=3))
    assert [len(part) for part in parts] == [3, 3, 1, 2]
    places = [f"{first}:{n}" for n in range(1, 8)] + [f"{second}:1", f"{second}:2"]
    assert [tuple(record) for part in parts for record in part] == list(zip(places, range(9), strict=True))


def test_long_records_make_short_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["a" * (5 << 20)] * 4)
    assert [len(part) for part in sent(chunks([File(str(path))], "data.path"))] == [2, 2]


@pytest.mark.parametrize("kind", ["jsonl", "json", "gz", "zst", "parquet"])
def test_chunks_say_how_much_of_their_file_they_are(kind: str, tmp_path: Path) -> None:
    """Also of a packed one, whose own bytes count: together its size, and each its part, but for reading ahead."""
    rows = [{"prompt": random.Random(at).randbytes(300).hex(), "completion": str(at)} for at in range(9000)]
    text = "\n".join(map(json.dumps, rows)).encode()
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2500)
    else:
        as_array = json.dumps(rows).encode()
        packed = {"json": lambda: as_array, "gz": lambda: gzip.compress(text), "zst": lambda: zstd(text)}
        path.write_bytes(packed.get(kind, lambda: text)())
    sizes = [chunk.stored for chunk in chunks([File(str(path))], "data.path", size=1000)]
    assert sum(sizes) == path.stat().st_size and min(sizes) >= 0
    half = sum(sizes[: len(sizes) // 2]) / path.stat().st_size
    assert abs(half - 4 / 9) < 0.25


def zstd(text: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def test_what_cannot_be_decoded_keeps_its_place_among_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "a", "completion": "b"}\n{"prompt"\n3')
    ((good, bad, number),) = sent(chunks([File(str(path))], "data.path"))
    assert conversation_of(good).messages[1].content == "b"
    assert isinstance(bad, BadRecord) and bad.origin == f"{path}:2"
    with pytest.raises(DataError, match=r"a\.jsonl:2: is not JSON"):
        conversation_of(bad)
    with pytest.raises(DataError, match=r"a\.jsonl:3: is the number 3; each record must be"):
        conversation_of(number)


def test_names_are_looked_for_over_all_processes() -> None:
    fields = FieldNames(prompt="question", completion="reply")
    checks = [NameCheck(fields) for _ in range(2)]
    checks[0].see({"question": "a", "answer": "b"})
    with pytest.raises(DataError, match=r"data.fields.completion=reply: no record of x has it; .*'answer'"):
        checks[0].refuse_unknown("x")
    checks[1].see({"question": "a", "reply": "b"})
    checks[0].merge(pickle.loads(pickle.dumps(checks[1])))
    checks[0].refuse_unknown("x")


def test_a_text_without_a_name_names_no_file() -> None:
    with pytest.raises(DataError, match=r"eval\.path names no file; set --config\.eval\.path=FILE"):
        located(" , ", "eval.path")
