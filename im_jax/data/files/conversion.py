"""What a file is that is not read, by its first bytes, and the command that makes one of it that is."""

import csv
import io
import shlex
from pathlib import Path
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A format of files."""

    name: str
    """As in `is a Parquet file`."""
    program: str
    """Shell command from standard input to standard output, or with `{path}` from a file."""
    suffix: str = ".jsonl"
    """Of the name of what it makes."""


def _python(program: str) -> str:
    return f'python3 -c "{program}"'


_OBJECT: Final = Kind(
    "a JSON object over several lines",
    _python("import json; print(json.dumps(json.load(open(0, encoding='utf-8-sig'))))"),
)
_UTF16: Final = Kind("UTF-16 text", "iconv -f UTF-16 -t UTF-8")
_ARROW: Final = (
    "import json, pyarrow, sys; [print(json.dumps(r, default=str)) "
    "for b in pyarrow.ipc.open_{}(sys.argv[1]) for r in b.to_pylist()]"
)
_BY_MAGIC: Final = {
    b"PAR1": Kind("a packed Parquet file", "cat", ".parquet"),
    b"ARROW1": Kind("an Arrow file", _python(_ARROW.format("file")) + " {path}"),
    b"\xff\xff\xff\xff": Kind("an Arrow stream", _python(_ARROW.format("stream")) + " {path}"),
    b"PK\x03\x04": Kind("a zip file", "unzip -p {path}"),
    b"\x28\xb5\x2f\xfd": Kind("a zstd file inside a packed one", "zstd -dc"),
    b"\x1f\x8b": Kind("a gzip file inside a packed one", "gzip -dc"),
    b"BZh": Kind("a bzip2 file", "bzip2 -dc"),
    b"\xfd7zXZ\x00": Kind("an xz file", "xz -dc"),
    b"\xff\xfe": _UTF16,
    b"\xfe\xff": _UTF16,
}
_DELIMITERS: Final = {",": "CSV", "\t": "tab-separated values", ";": "CSV with semicolons"}
_SHOWN: Final = 5


def recognised(head: bytes, *, whole: bool) -> Kind | None:
    """The format of a file that is not read, if it is a known one.

    Args:
        head: its first bytes, without white space in front.
        whole: whether these are all.
    """
    for magic, kind in _BY_MAGIC.items():
        if head.startswith(magic):
            return kind
    first, newline, rest = head.partition(b"\n")
    if first.strip() == b"{" and newline:
        return _OBJECT
    return None if head.startswith((b"{", b"[")) else _table(first + newline + rest, whole=whole)


def _table(head: bytes, *, whole: bool) -> Kind | None:
    """A table with a line of names: at least two columns, and as many in the first two rows."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode()  # the head may end within a character
    for delimiter, name in _DELIMITERS.items():
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            names, first = next(rows, []), next(rows, None)
        except csv.Error:
            continue
        if first and first[0].lstrip().startswith("{"):
            continue
        complete = first is not None and (whole or next(rows, None) is not None)
        if len(names) > 1 and (not complete or len(names) == len(first or ())) and all(map(_is_name, names)):
            columns = ", ".join(names[:_SHOWN])
            keyword = "" if delimiter == "," else f", delimiter={delimiter!r}"
            rows_of = f"csv.DictReader(open(0, encoding='utf-8-sig', newline=''){keyword})"
            program = f"import csv, json; [print(json.dumps(r)) for r in {rows_of}]"
            return Kind(f"{name} (columns {columns})", _python(program))
    return None


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 60 and text.isprintable() and not set(text) & set("{}[]")


def conversion_command(kind: Kind, path: str, packing: str) -> str:
    """A shell command that makes a file of records in the current directory.

    Args:
        kind: what the file is.
        path: its name.
        packing: the program that unpacks it, such as `gzip`; empty: none.
    """
    name = Path(path).name
    stem = name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[0] or "data"
    # The shell empties the file that it is to write before the program reads.
    target = f"{stem}{kind.suffix}" if f"{stem}{kind.suffix}" != name else f"{stem}-converted{kind.suffix}"
    reader = f"{packing} -dc" if packing else "cat"
    if "{path}" in kind.program:
        return f"{kind.program.replace('{path}', shlex.quote(path))} > {shlex.quote(target)}"
    made = f"{reader} {shlex.quote(path)}" + (f" | {kind.program}" if kind.program != "cat" else "")
    return f"{made} > {shlex.quote(target)}"
