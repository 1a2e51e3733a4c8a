"""Files cut into chunks: one pass, in bounded memory, and nothing is decoded."""

from collections.abc import Iterable, Iterator
from typing import Final

from im_jax.data.files.array import elements_of
from im_jax.data.files.chunk import Chunk
from im_jax.data.files.conversion import conversion_command, recognised
from im_jax.data.files.json_text import JsonChunk
from im_jax.data.files.lines import BYTE_ORDER_MARK, lines_of
from im_jax.data.files.location import File
from im_jax.data.files.opening import Opened, Readable, opened
from im_jax.errors import DataError

CHUNK: Final = 500
"""Records that a chunk has at most: enough for a worker, little enough to hold as text."""
_CHUNK_BYTES: Final = 1 << 23
"""Bytes of text after which a chunk ends, so that long records do not add up."""
_HEAD: Final = 1 << 12
"""Bytes by which a file is recognised."""


def chunks(files: Iterable[File], field: str, size: int = CHUNK) -> Iterator[Chunk]:
    """All records of some files, in order, cut into chunks.

    Args:
        files: what `located` found.
        field: the field of the configuration that names them, for errors.
        size: most records of a chunk.

    Raises:
        DataError: a file cannot be read, is no file of records, is damaged, or is beyond the limits.
    """
    for file in files:
        with opened(file.path, field) as source:
            yield from _chunks(source, size)


def _chunks(source: Opened, size: int) -> Iterator[Chunk]:
    readable = Readable("line")
    with source.damage(readable):
        head = source.head(_HEAD)
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    whole = len(head) < _HEAD
    if not text and whole:
        raise DataError(f"{source.path}: is empty; it must hold records, such as one JSON object a line")
    if head.startswith(b"PAR1") and not source.packing:
        from im_jax.data.files.parquet import parquet_chunks  # here, since few files need it

        yield from parquet_chunks(source, size)
        return
    if kind := recognised(text, whole=whole):
        command = conversion_command(kind, source.path, source.packing)
        raise DataError(f"{source.path}: is {kind.name}, not JSON or Parquet; convert it with: {command}")
    readable.unit = "element" if text.startswith(b"[") else "line"
    with source.damage(readable):
        yield from _json_chunks(source, readable, size)


def _json_chunks(source: Opened, readable: Readable, size: int) -> Iterator[JsonChunk]:
    find = elements_of if readable.unit == "element" else lines_of
    texts: list[tuple[int, bytes]] = []
    read = before = 0
    for number, text in find(source, readable):
        texts.append((number, text))
        read += len(text)
        if len(texts) == size or read >= _CHUNK_BYTES:
            position = source.position
            yield JsonChunk(source.path, readable.unit, tuple(texts), position - before)
            texts, read, before = [], 0, position
    if texts:
        yield JsonChunk(source.path, readable.unit, tuple(texts), source.position - before)
