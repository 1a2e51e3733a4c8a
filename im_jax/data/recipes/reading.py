"""Chunks of the files of a recipe, whose records are converted where they are decoded."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet

from im_jax.data.files import AnyRecord, BadRecord, Chunk, File, LeftOutRecord, Record, chunks
from im_jax.data.files.parquet import MAGIC
from im_jax.data.recipes.first_come import first_come
from im_jax.data.recipes.recipe import Conversion, LeftOut, Recipe
from im_jax.stores import readable


@dataclass(frozen=True)
class ConvertedChunk:
    """A chunk, and what makes records in a known format of its records; can be pickled."""

    chunk: Chunk
    convert: Conversion | None
    first: int
    """Number of its first record in its file, from 0: conversions may depend on it."""
    taken: bytes | None = None
    """1 for each record that is taken, 0 for the others; None: all are."""

    @property
    def stored(self) -> int:
        """See `Chunk.stored`."""
        return self.chunk.stored

    def __len__(self) -> int:
        return len(self.chunk)

    def records(self) -> Iterator[Record | BadRecord | LeftOutRecord]:
        """See `Chunk.records`. What becomes several is `file:3/0`, `file:3/1`."""
        for at, record in enumerate(self.chunk.records()):
            if self.taken is not None and not self.taken[at]:
                yield LeftOutRecord(record.origin, "beyond the share of its source")
            elif isinstance(record, Record) and self.convert is not None and isinstance(record.value, dict):
                yield from self._converted(record, self.convert, self.first + at)
            else:
                yield record

    def _converted(
        self, record: Record, convert: Conversion, number: int
    ) -> Iterator[Record | LeftOutRecord]:
        made = convert(record.value, number)
        if isinstance(made, LeftOut):
            yield LeftOutRecord(record.origin, made.reason)
        elif isinstance(made, dict):
            yield Record(record.origin, made)
        else:
            for at, piece in enumerate(made):
                yield Record(f"{record.origin}/{at}", piece)


def recipe_chunks(recipe: Recipe, files: Sequence[File], field: str) -> Iterator[Chunk]:
    """All records of a recipe's files, as `chunks` cuts them, converted.

    Raises:
        DataError: as `chunks`.
    """
    taken = None if recipe.share is None else _first_come(recipe, files, field)
    before = 0
    for file in files:
        first = 0
        for chunk in chunks([file], field):
            mine = None if taken is None else taken[before : before + len(chunk)].tobytes()
            yield ConvertedChunk(chunk, recipe.convert, first, mine)
            first += len(chunk)
            before += len(chunk)


def _first_come(recipe: Recipe, files: Sequence[File], field: str) -> np.ndarray:
    """Which records are taken, of all files: their sources are read before anything else."""
    sources = [source for file in files for source in _sources(file, recipe.share_by, field)]
    assert recipe.share is not None
    return first_come(sources, recipe.share).astype(np.uint8)


def _sources(file: File, name: str, field: str) -> Iterator[str]:
    """The source of each record of a file; of a Parquet file, nothing else is read."""
    path = readable(file.path)
    with path.open("rb") if path.is_file() else io.BytesIO() as content:
        if (
            content.read(len(MAGIC)) == MAGIC
            and name in (whole := pyarrow.parquet.ParquetFile(content)).schema_arrow.names
        ):
            column = whole.read(columns=[name]).column(name)
            return iter(["" if source is None else str(source) for source in column.to_pylist()])
    records = (record for chunk in chunks([file], field) for record in chunk.records())
    return (_source_of(record, name) for record in records)


def _source_of(record: AnyRecord, name: str) -> str:
    if isinstance(record, Record) and isinstance(record.value, dict):
        source = record.value.get(name)
        return "" if source is None else str(source)
    return ""
