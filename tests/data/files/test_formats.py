"""Every format of files gives the same records, in bounded memory; what is damaged is named."""

import gzip
import json
import random
import subprocess
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from im_jax.data.files import BadRecord, File, Record, chunks, opening
from im_jax.errors import DataError
from tests.data.synthetic import chats

RECORDS: list[dict[str, Any]] = [
    {"id": 1, "messages": chats(3)[0], "note": None},
    {"id": 2, "messages": chats(3)[1], "note": 'brackets ]}[{ "quotes\\" , \\\\'},
    {"id": 3, "messages": [{"role": "user", "content": "Grüße 漢字 🙂\n"}], "note": "\\"},
]


def packed(content: bytes, packing: str) -> bytes:
    if packing == "zstd":
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return bytes(sink.getvalue())
    return gzip.compress(content) if packing == "gzip" else content


def as_lines(records: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def as_array(records: Iterable[Any], indent: int | None = None) -> bytes:
    return json.dumps(list(records), indent=indent, ensure_ascii=False).encode()


def read(path: Path, size: int = 500) -> list[Record | BadRecord]:
    return [record for chunk in chunks([File(str(path))], "data.path", size) for record in chunk.records()]


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packing", ["", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("content", "unit"),
    [
        (as_lines(RECORDS), ""),
        (as_array(RECORDS), "element "),
        (as_array(RECORDS, indent=2), "element "),
        (b"\xef\xbb\xbf \n" + as_array(RECORDS) + b"\n \n", "element "),
    ],
)
def test_json_is_told_by_content_and_read_alike(
    content: bytes, unit: str, packing: str, tmp_path: Path
) -> None:
    path = tmp_path / "whatever.txt"
    path.write_bytes(packed(content, packing))
    expected = [Record(f"{path}:{unit}{n}", record) for n, record in enumerate(RECORDS, 1)]
    assert read(path) == read(path, size=2) == expected


@pytest.mark.skipif(
    subprocess.run(["which", "zstd"], capture_output=True).returncode != 0, reason="needs zstd"
)
def test_files_of_the_program_zstd_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_lines(RECORDS))
    for options in (["-1"], ["-19", "--check"], ["--long=27"]):
        made = subprocess.run(["zstd", "-c", *options, str(path)], capture_output=True, check=True).stdout
        (tmp_path / "b.jsonl.zst").write_bytes(made + made)
        assert [r.value for r in read(tmp_path / "b.jsonl.zst") if isinstance(r, Record)] == RECORDS * 2


def test_elements_are_found_wherever_blocks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    path = tmp_path / "a.json"
    for _ in range(60):
        values: list[Any] = [
            rng.choice(
                [
                    "".join(rng.choices('\\"[]{}, a漢', k=rng.randint(0, 12))),
                    [["a"], {"b": ["]", "\\"]}],
                    {"k\\": {"x": '"'}, "": [1.5, None]},
                    rng.randint(0, 99),
                    True,
                    [],
                    {},
                ]
            )
            for _ in range(rng.randint(0, 8))
        ]
        path.write_bytes(as_array(values, rng.choice([None, 1])))
        monkeypatch.setattr("im_jax.data.files.array._BLOCK", rng.randint(1, 9))
        assert [record.value for record in read(path) if isinstance(record, Record)] == values


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[{"a": 1}, {"a": 2}', "is a JSON array that ends after element 1, before its ]; copy it again"),
        (b'[{"a": 1}, {"a": "2]', "is a JSON array that ends after element 1, before its ]"),
        (b"[", "is a JSON array that ends after element 0"),
        (b'[{"a": 1}] [2]', "ends after element 1, and is followed by '[2]'; a file must be one array"),
        (b'["a", "b"]\n["c", "d"]', 'ends after element 2, and is followed by \'["c"'),
    ],
)
def test_an_array_that_is_not_whole_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    assert problem in refusal(tmp_path / "a.json", content)


def test_a_bad_element_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": 1}, {"a" 2}, {"a": 1, "a": 2}, {"a": "\xff"},\n\n{"a":\n], 3]')
    good, *bad = read(path)
    assert good == Record(f"{path}:element 1", {"a": 1})
    problems = [record.message for record in bad if isinstance(record, BadRecord)]
    assert problems[0] == (
        f"{path}:element 2: is not JSON: Expecting ':' delimiter at column 6; each element must be one whole JSON object"
    )
    assert problems[1] == f"{path}:element 3: has the field 'a' twice in one object; keep one of them"
    assert problems[2].startswith(f"{path}:element 4: is not UTF-8 at byte ")


def test_limits_hold_for_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_LINE", 1 << 16)
    monkeypatch.setattr(opening, "MAX_UNPACKED", 1 << 20)
    path = tmp_path / "a.json"
    long = as_array(["a", "b" * (1 << 17)])
    assert f"{path}:element 2: is of more than 0 MiB, or a quote or bracket" in refusal(path, long)
    unclosed = b'[1, "' + b"a" * (3 << 20)
    assert f"{path}:element 2: is of more than" in refusal(path, unclosed)
    bomb = as_array(["a" * 1000] * 5000)
    for packing in ("gzip", "zstd"):
        message = refusal(path, packed(bomb, packing))
        assert "has unpacked to more than 1 MiB, over 100 times its size" in message
        assert f"unpack it with {packing} -dc" in message


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize("make", [as_lines, as_array])
def test_a_truncated_file_says_how_far_it_can_be_read(
    packing: str, make: Callable[[Iterable[Any]], bytes], tmp_path: Path
) -> None:
    rng = random.Random(0)
    content = packed(make({"n": rng.random()} for _ in range(200_000)), packing)
    message = refusal(tmp_path / "a", content[: len(content) // 2])
    assert f"is a damaged or truncated {packing} file" in message
    assert "readable up to line " in message or "readable up to element " in message


def test_the_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = as_array([{"prompt": "a" * 500, "completion": "b" * 500}])[1:-1]
    path.write_bytes(b"[" + b",\n".join([record] * 40_000) + b"]")
    assert path.stat().st_size > 40_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in chunks([File(str(path))], "data.path")) == 80
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 2}, {"compression": "zstd"}, {"use_dictionary": False}]
)
def test_rows_of_parquet_are_records_with_none_for_what_is_absent(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = parquet(tmp_path / "a", RECORDS, **options)
    for size in (1, 2, 500):
        assert read(path, size) == [Record(f"{path}:row {n}", record) for n, record in enumerate(RECORDS, 1)]
    mixed = [{"m": [{"role": "user", "input": "x"}, {"role": "tool"}]}, {"m": None}]
    values = [record.value for record in read(parquet(tmp_path / "b", mixed)) if isinstance(record, Record)]
    assert values == [{"m": [{"role": "user", "input": "x"}, {"role": "tool", "input": None}]}, {"m": None}]


def test_texts_that_parquet_calls_bytes_are_texts(tmp_path: Path) -> None:
    rows = [{"a": "é".encode(), "b": [b"x"]}, {"a": b"\xff", "b": None}, {"a": None, "b": []}]
    path = parquet(tmp_path / "a", rows)
    first, bad, last = read(path)
    assert first == Record(f"{path}:row 1", {"a": "é", "b": ["x"]})
    assert last == Record(f"{path}:row 3", {"a": None, "b": []})
    assert isinstance(bad, BadRecord) and bad.message.startswith(
        f"{path}:row 2: holds bytes that are not UTF-8 (0xff)"
    )


def test_a_parquet_file_that_is_damaged_packed_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parquet(tmp_path / "a", [{"a": str(n)} for n in range(5000)]).read_bytes()
    for content in (whole[:-100], whole[: len(whole) // 2], b"PAR1\x15\x04"):
        assert "is a damaged or truncated Parquet file (" in refusal(tmp_path / "b", content)
    assert "copy it again" in refusal(tmp_path / "b", whole[:1000] + bytes(5000) + whole[6000:])
    message = refusal(tmp_path / "b.parquet.gz", gzip.compress(whole))
    assert message.endswith(f"convert it with: gzip -dc {tmp_path}/b.parquet.gz > b.parquet")
    monkeypatch.setattr(opening, "MAX_LINE", 1 << 16)
    monkeypatch.setattr(opening, "MAX_UNPACKED", 1 << 20)
    long = parquet(tmp_path / "c", [{"a": "x"}, {"a": "y" * (1 << 17)}]).read_bytes()
    assert f"{tmp_path}/c:row 2: is of more than 0 MiB" in refusal(tmp_path / "c", long)
    bomb = parquet(tmp_path / "d", [{"a": "x" * 1000}] * 20_000).read_bytes()
    assert "has unpacked to more than" in refusal(tmp_path / "d", bomb)


def test_bytes_that_cannot_be_decoded_are_one_bad_row(tmp_path: Path) -> None:
    array = pyarrow.StringArray.from_buffers(
        3, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pyarrow.py_buffer(b"a\xffb")
    )
    pyarrow.parquet.write_table(pyarrow.table({"t": array}), tmp_path / "a")
    first, bad, last = read(tmp_path / "a")
    assert isinstance(first, Record) and isinstance(last, Record)
    assert (first.value, last.value) == ({"t": "a"}, {"t": "b"})
    assert isinstance(bad, BadRecord) and ":row 2: holds bytes that are not UTF-8" in bad.message
