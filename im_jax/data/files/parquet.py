"""The rows of a Parquet file: read here a batch at a time, and made into records where they are used."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from im_jax.data.files import opening
from im_jax.data.files.chunk import BadRecord, Record
from im_jax.data.files.opening import Opened
from im_jax.errors import DataError

MAGIC: Final = b"PAR1"
_BUFFER: Final = 1 << 20
_BATCH_BYTES: Final = 1 << 23


@dataclass(frozen=True)
class ParquetChunk:
    """Neighbouring rows of a Parquet file."""

    path: str
    first: int
    """Number of the first row, from 1."""
    rows: int
    batch: bytes
    """The rows as an Arrow stream, of which nothing is decoded yet."""
    stored: int
    """See `Chunk.stored`."""

    def __len__(self) -> int:
        return self.rows

    def records(self) -> Iterator[Record | BadRecord]:
        """See `Chunk.records`. A field that a struct lacks in a row is None."""
        table = pyarrow.ipc.open_stream(self.batch).read_all()
        try:
            rows = table.to_pylist()
        except UnicodeDecodeError:
            rows = [_row(table, at) for at in range(len(table))]
        has_bytes = any(_has_bytes(column.type) for column in table.schema)
        for number, row in enumerate(rows, self.first):
            origin = f"{self.path}:row {number}"
            try:
                if isinstance(row, UnicodeDecodeError):
                    raise row
                yield Record(origin, _as_text(row) if has_bytes else row)
            except UnicodeDecodeError as error:
                bad = f"0x{error.object[error.start]:02x}"
                yield BadRecord(
                    origin, f"{origin}: holds bytes that are not UTF-8 ({bad}); write texts as UTF-8"
                )


def parquet_chunks(source: Opened, size: int) -> Iterator[ParquetChunk]:
    """The rows in order, at most `size` at a time.

    Raises:
        DataError: the file is damaged, or beyond the limits.
    """
    read = size_read = 0
    try:
        file = pyarrow.parquet.ParquetFile(source.file, buffer_size=_BUFFER)
        all_rows = max(file.metadata.num_rows, 1)
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        longest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
        rows = max(1, min(size, int(_BATCH_BYTES / max(longest, 1))))
        for batch in file.iter_batches(rows):
            size_read += batch.nbytes
            if size_read > source.limit:
                source.refuse_bomb(f"row {read + 1}")
            _refuse_long(batch, source.path, read)
            until = read + len(batch)
            stored = source.size * until // all_rows - source.size * read // all_rows
            yield ParquetChunk(source.path, read + 1, len(batch), _stream(batch), stored)
            read = until
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{source.path}: is a damaged or truncated Parquet file ({reason}), readable up to row {read}; "
            "copy it again"
        ) from None


def _refuse_long(batch: "pyarrow.RecordBatch", path: str, before: int) -> None:
    if batch.nbytes <= opening.MAX_LINE:
        return
    for at in range(len(batch)):
        if batch.slice(at, 1).nbytes > opening.MAX_LINE:
            raise DataError(
                f"{path}:row {before + at + 1}: is of more than {opening.MAX_LINE >> 20} MiB; each row must "
                "be one record, so split it into several, or remove it"
            )


def _stream(batch: "pyarrow.RecordBatch") -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _row(table: "pyarrow.Table", at: int) -> Any:
    try:
        return table.slice(at, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return error


def _has_bytes(kind: "pyarrow.DataType") -> bool:
    """Whether texts are stored without being said to be texts, as some writers do."""
    if pyarrow.types.is_nested(kind):
        return any(_has_bytes(kind.field(at).type) for at in range(kind.num_fields))
    return bool(
        pyarrow.types.is_binary(kind)
        or pyarrow.types.is_large_binary(kind)
        or pyarrow.types.is_fixed_size_binary(kind)
    )


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value
