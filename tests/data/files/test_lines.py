"""Files of strangers: bombs and other formats are refused in bounded memory, with what to do."""

import gzip
import json
import os
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from im_jax.data.files import File, chunks, opening
from im_jax.data.jsonl import JsonlSource
from im_jax.errors import DataError

RECORD = {"prompt": "a", "completion": "b"}
LINE = json.dumps(RECORD).encode()


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        JsonlSource(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zeros(path: Path, mebibytes: int, chunk: bytes) -> Path:
    """A gzip file of one MiB again and again, which packs to a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(packer.compress(chunk))
        file.write(packer.flush())
    return path


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_line_beyond_all_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINE + b"\n" + b'{"prompt": "' + b"a" * (20 << 20))
    message = ""

    def read() -> None:
        nonlocal message
        message = refusal(path)

    assert peak_of(read) < 6 << 20
    assert message.startswith(f"{path}:2: is a line of more than 1 MiB; each line must be one record")


def test_a_line_as_long_as_is_allowed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_LINE", len(LINE) + 1)
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINE + b"\n" + LINE)
    assert len(JsonlSource(path)) == 2
    monkeypatch.setattr(opening, "MAX_LINE", len(LINE) - 1)
    assert ":1: is a line of more than" in refusal(path)


@pytest.mark.parametrize("chunk", [b"\0" * (1 << 20), b"\n" * (1 << 20), (LINE + b"\n") * 20_000])
def test_a_gzip_bomb_is_named_before_it_fills_the_memory(
    chunk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MAX_LINE", 1 << 20)
    monkeypatch.setattr(opening, "MAX_UNPACKED", 1 << 20)
    path = zeros(tmp_path / "bomb.jsonl.gz", 20, chunk)
    assert path.stat().st_size < 100_000
    message = ""

    def read() -> None:
        nonlocal message
        with pytest.raises(DataError) as caught:
            for _ in chunks([File(str(path))], "data.path"):
                pass
        message = str(caught.value)

    assert peak_of(read) < 24 << 20
    assert message.startswith(f"{path}:")
    assert "MiB" in message


def test_blank_lines_without_number_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" * 100_000 + LINE)
    source = JsonlSource(path)
    assert [c.origin for c in source] == [f"{path}:100001"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "is a pipe, not a file; write what it gives to a file" in refusal(path)


def test_a_device_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert "'/dev/zero' is a device, not a file" in refusal(Path("/dev/zero"))
    assert "is a directory; set --config.data.path to the files in it" in refusal(tmp_path)


def test_a_truncated_gzip_says_how_far_it_can_be_read(tmp_path: Path) -> None:
    text = b"".join(json.dumps(RECORD | {"n": n}).encode() + b"\n" for n in range(5000))
    message = refusal(tmp_path / "a.jsonl.gz", gzip.compress(text)[:-2000])
    assert "is a damaged or truncated gzip file" in message
    assert "readable up to line " in message and "copy it again" in message


@pytest.mark.parametrize(
    ("content", "kind", "command"),
    [
        (b"ARROW1\0\0", "an Arrow file", "pyarrow.ipc.open_file"),
        (b"\xff\xff\xff\xff", "an Arrow stream", "pyarrow.ipc.open_stream"),
        (b"PK\x03\x04rest", "a zip file", "unzip -p"),
        (b"BZh9rest", "a bzip2 file", "bzip2 -dc"),
        (b"\xfd7zXZ\0rest", "an xz file", "xz -dc"),
        ('{"prompt": "a"}'.encode("utf-16"), "UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_other_formats_are_known_by_their_first_bytes(
    content: bytes, kind: str, command: str, tmp_path: Path
) -> None:
    for path, data in ((tmp_path / "a.jsonl", content), (tmp_path / "b.jsonl.gz", gzip.compress(content))):
        message = refusal(path, data)
        assert f"{path}: is {kind}, not JSON or Parquet; convert it with: " in message
        assert command in message


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", 'prompt,completion\na,"b, c"\n', "CSV (columns prompt, completion)"),
        ("b.txt", '"prompt","completion"\r\n"a","b, c"\r\n', "CSV (columns prompt, completion)"),
        ("c.tsv", "prompt\tcompletion\na\tb, c\n", "tab-separated values (columns prompt, completion)"),
        ("d e.csv", "\ufeffprompt;completion\na;b, c\n", "CSV with semicolons (columns prompt, completion)"),
        ("f.csv.gz", 'prompt,completion\na,"b, c"\n', "CSV (columns prompt, completion)"),
        ("h.json", '{\n "prompt": "a",\n "completion": "b, c"\n}', "a JSON object over several lines"),
    ],
)
def test_the_command_that_a_table_is_answered_with_works(
    name: str, content: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    data = content.encode()
    message = refusal(path, gzip.compress(data) if name.endswith(".gz") else data)
    assert f"is {kind}, not JSON or Parquet" in message
    command = message.partition("convert it with: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    (converted,) = set(tmp_path.glob("*.jsonl")) - {path}
    assert path.read_bytes(), "what was given is still there"
    texts = [[m.content for m in c.messages] for c in JsonlSource(converted)]
    assert texts == [["a", "b, c"]]


@pytest.mark.parametrize("first", [b"hello", b"hello, world", b'"a", "b"', b"12", b"# a, b"])
def test_a_line_that_is_no_table_is_a_bad_line_like_any_other(first: bytes, tmp_path: Path) -> None:
    message = refusal(tmp_path / "a.jsonl", first + b"\n" + LINE + b"\n" + LINE + b"\n")
    assert ":1: is " in message and "convert" not in message


def test_a_field_twice_in_one_object_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a.jsonl", LINE + b'\n{"prompt": "a", "prompt": "b", "completion": "c"}')
    assert ":2: has the field 'prompt' twice in one object; keep one of them" in message
    nested = b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}'
    assert "has the field 'content' twice" in refusal(tmp_path / "b.jsonl", nested)
