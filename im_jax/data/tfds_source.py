"""Any data set prepared by TensorFlow Datasets, as a random-access source, without TensorFlow.

It is read from its files alone: the code that prepared it need not be installed.
"""

import itertools
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds

from im_jax.config import FieldNames
from im_jax.data.records import DEFAULT_FIELDS, Conversation, NameCheck, conversation_from_record
from im_jax.data.records.bad_examples import BadExamples
from im_jax.errors import DataError


class TfdsSource:
    """One split of a prepared TFDS data set, in its order."""

    skipped: Sequence[str]
    """One message for each malformed record that was left out (`on_bad_example="skip"`)."""

    def __init__(
        self,
        name: str,
        data_dir: str = "",
        split: str = "train",
        fields: FieldNames = DEFAULT_FIELDS,
        on_bad_example: str = "stop",
    ):
        """Opens the data set and checks every record.

        Args:
            name: as TFDS writes it: `name`, `name/config`, `name:1.0.0`.
            data_dir: directory that holds it; empty for TFDS's own default.
            split: a split or a part of one, such as `train[:80%]`.
            fields: what the features are called.
            on_bad_example: `stop` or `skip`.

        Raises:
            DataError: the data set is not prepared there for random access, has no such split, or
                (unless skipped) has a malformed record.
        """
        builder = _find_builder(name, data_dir)
        self._records = _open_split(builder, split)
        self._origin = f"{builder.info.full_name}/{split}"
        self._fields = fields
        self._usable, self.skipped = self._find_usable(on_bad_example)

    def _find_usable(self, on_bad_example: str) -> tuple[np.ndarray, list[str]]:
        """Numbers of the usable records, and a message about each of the others."""
        bad, names, usable = BadExamples(on_bad_example), NameCheck(self._fields), []
        for number in range(len(self._records)):
            try:
                record = self._record(number)
                conversation_from_record(record, self._place(number), self._fields)
            except DataError as error:
                bad.meet(error)
            else:
                usable.append(number)
                names.see(record)
        bad.refuse_nothing(len(usable), self._origin)
        names.refuse_unknown(self._origin)
        return np.array(usable, np.int64), bad.skipped

    def __len__(self) -> int:
        return len(self._usable)

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        number = int(self._usable[index])
        return conversation_from_record(self._record(number), self._place(number), self._fields)

    def _place(self, number: int) -> str:
        return f"{self._origin}:{number}"

    def _record(self, number: int) -> dict[str, Any]:
        try:
            record: dict[str, Any] = _to_json(self._records[number])
        except UnicodeDecodeError as error:
            place = self._place(number)
            raise DataError(f"{place}: holds bytes that are not UTF-8: {error.object[:20]!r}") from None
        name = self._fields.messages
        if isinstance(record.get(name), dict):
            record[name] = _rows(record[name])
        return record


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


def _open_split(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict[str, Any]]:
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
