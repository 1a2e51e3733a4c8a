"""Any data set prepared by TensorFlow Datasets, its records in chunks, without TensorFlow.

It is read from its files alone: the code that prepared it need not be installed. Records are read and
decoded where their chunk is used, in any process; those of a bucket in ranges, by array_record's own client.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow_datasets as tfds

from im_jax.data.files import CHUNK, BadRecord, Record
from im_jax.errors import DataError
from im_jax.stores import in_store, readable

_CHUNK_BYTES: Final = 1 << 23
"""Bytes of records after which a chunk ends, if they are as long as the mean."""
_TODO: Final = "copy the data set again, or prepare it anew"
_TODO_IN_STORE: Final = (
    "log in (gcloud auth application-default login), start again once the store can be reached, or copy "
    "the data set again"
)
_REASON_SHOWN: Final = 200
_METADATA: Final = ("dataset_info.json", "features.json")


class TfdsSplit:
    """One split of a prepared TFDS data set, in its order."""

    def __init__(self, name: str, data_dir: str = "", split: str = "train") -> None:
        """Opens the data set and reads no record.

        Args:
            name: as TFDS writes it: `name`, `name/config`, `name:1.0.0`.
            data_dir: directory that holds it; empty for TFDS's own default.
            split: a split or a part of one, such as `train[:80%]`.

        Raises:
            ConfigError, StorageError: `data_dir` is in a bucket that cannot be read.
            DataError: the data set is not prepared there for random access, or has no such split.
        """
        if in_store(data_dir):
            readable(data_dir).exists()  # what a bucket refuses TFDS does not tell in a line
        builder = _find_builder(name, data_dir)
        _open_split(builder, split)
        self._count: int = builder.info.splits[split].num_examples
        self._directory, self._split = str(builder.data_path), split
        self.place: str = f"{builder.info.full_name}/{split}"
        """Such as `name/1.0.0/train`: what a record is called begins with it."""
        metadata = [builder.data_path / file for file in _METADATA]
        stored = {str(each.filename) for each in builder.info.splits[split].file_instructions}
        self.paths: tuple[str, ...] = (*(str(path) for path in metadata if path.exists()), *sorted(stored))
        """All files that decide what the records are."""
        splits = builder.info.splits.values()
        records, size = sum(each.num_examples for each in splits), sum(each.num_bytes for each in splits)
        self._each = max(1, size // max(records, 1))
        self.size: int = self._each * self._count
        """About how many bytes the records are."""

    def __len__(self) -> int:
        return self._count

    def chunks(self) -> Iterator["TfdsChunk"]:
        """All records, in order."""
        at_once = max(1, min(CHUNK, _CHUNK_BYTES // self._each))
        for start in range(0, self._count, at_once):
            numbers = range(start, min(start + at_once, self._count))
            yield TfdsChunk(self._directory, self._split, self.place, numbers, self._each * len(numbers))


@dataclass(frozen=True)
class TfdsChunk:
    """Neighbouring records of a split, by their numbers: nothing of them is read yet."""

    directory: str
    split: str
    place: str
    numbers: range
    stored: int
    """See `Chunk.stored`."""

    def __len__(self) -> int:
        return len(self.numbers)

    def records(self) -> Iterator[Record | BadRecord]:
        """See `Chunk.records`. Raises `DataError` where a file is missing or damaged."""
        source, sequences = _opened(self.directory, self.split)
        for number in self.numbers:
            origin = f"{self.place}:{number}"
            try:
                record: dict[str, Any] = _to_json(source[number])
            except UnicodeDecodeError as error:
                found = error.object[:20]
                yield BadRecord(origin, f"{origin}: holds bytes that are not UTF-8: {found!r}")
                continue
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                todo = _TODO_IN_STORE if in_store(self.directory) else _TODO
                raise DataError(f"{origin}: cannot be read ({reason[:_REASON_SHOWN]}); {todo}") from None
            yield Record(origin, {k: _rows(v) if k in sequences else v for k, v in record.items()})


@functools.lru_cache(maxsize=4)
def _opened(directory: str, split: str) -> tuple[Any, frozenset[str]]:
    """A split in this process, and the features that are sequences of objects."""
    builder = tfds.core.read_only_builder.builder_from_directory(directory)
    sequences = frozenset(
        name
        for name, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Sequence)
        and isinstance(feature.feature, tfds.features.FeaturesDict)
    )
    return _open_split(builder, split), sequences


def _find_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    directory = data_dir or None
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=directory)
    except tfds.core.registered.DatasetNotFoundError:
        raise DataError(
            f"data.name: no TFDS data set {name!r} is prepared in {data_dir or 'the default directory'};"
            " set --config.data.path to its data directory and --config.data.name to NAME or NAME/CONFIG,"
            f" or prepare it: `tfds.builder({name!r}, data_dir={directory!r}, file_format='array_record')"
            ".download_and_prepare()`, or for your own JSON Lines"
            " `python -m im_jax.data.builders.instruction_jsonl --path=FILE --data_dir=DIRECTORY`"
        ) from None
    except ValueError as error:  # not a name, or several directories have it
        reason = str(error).partition("\n")[0]
        raise DataError(f"data.name: {name!r} cannot be opened: {reason}") from None


def _open_split(builder: tfds.core.DatasetBuilder, split: str) -> Any:
    """Its records by number; no file of theirs is opened yet, as `len` would."""
    info = builder.info
    try:
        return builder.as_data_source(split=split)
    except NotImplementedError:
        raise DataError(
            f"data.name: {info.full_name} is stored as {info.file_format.value}, which has no random"
            " access; prepare it again in another directory with file_format='array_record'"
        ) from None
    except ValueError:
        splits = ", ".join(sorted(info.splits))
        raise DataError(f"data.split: {info.full_name} has no split {split!r}; it has: {splits}") from None


def _to_json(value: Any) -> Any:
    """A TFDS element in the types of decoded JSON."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list | tuple) else value


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """TFDS gives a sequence of objects as an object of sequences; this turns it back.

    `{"role": ["user", "assistant"], "content": ["Hi", "Hello"]}` becomes
    `[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]`.
    """
    rows = itertools.zip_longest(*columns.values())  # a missing value becomes None and is then refused
    return [dict(zip(columns, row, strict=True)) for row in rows]
