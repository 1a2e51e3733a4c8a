"""Files cut into chunks: one pass, in bounded memory, and nothing is decoded."""

from collections.abc import Iterable, Iterator
from typing import Final

from im_jax.data.files.chunk import Chunk
from im_jax.data.files.json_text import JsonChunk
from im_jax.data.files.lines import lines_of
from im_jax.data.files.location import File

CHUNK: Final = 500
"""Records that a chunk has at most: enough for a worker, little enough to hold as text."""
_CHUNK_BYTES: Final = 1 << 23
"""Bytes of text after which a chunk ends, so that long records do not add up."""


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
        texts: list[tuple[int, bytes]] = []
        read = 0
        for number, text in lines_of(file.path, field):
            texts.append((number, text))
            read += len(text)
            if len(texts) == size or read >= _CHUNK_BYTES:
                yield JsonChunk(file.path, tuple(texts))
                texts, read = [], 0
        if texts:
            yield JsonChunk(file.path, tuple(texts))
