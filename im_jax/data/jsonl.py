"""Records as conversations in memory, by index."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import SupportsIndex

from im_jax.config import FieldNames, TurnsConfig
from im_jax.data.files import Chunk, File, LeftOutRecord, chunks
from im_jax.data.records import DEFAULT_FIELDS, DEFAULT_TURNS, Conversation, RecordReader
from im_jax.data.records.bad_examples import refuse_nothing
from im_jax.errors import DataError


class CheckedRecords:
    """Conversations of records that were read and checked, in order. Threads may share them."""

    skipped: Sequence[str]
    """One message for each malformed record that was left out (`on_bad_example="skip"`)."""
    left_out: Mapping[str, int]
    """Number of records that `turns` left out, by reason."""

    def __init__(
        self,
        records: Iterable[Chunk],
        place: str,
        fields: FieldNames = DEFAULT_FIELDS,
        on_bad_example: str = "stop",
        turns: TurnsConfig = DEFAULT_TURNS,
    ):
        """Reads and checks every record.

        Args:
            records: in chunks.
            place: where they are, for errors.
            fields: what the fields of a record are called.
            on_bad_example: `stop` or `skip`.
            turns: what becomes of turns that are not as most are.

        Raises:
            DataError: (unless skipped) a record is malformed; or no record has a name of `fields`.
        """
        reader = RecordReader(fields, turns, on_bad_example)
        self._conversations: list[Conversation] = []
        for chunk in records:
            for record in chunk.records():
                assert not isinstance(record, LeftOutRecord)  # recipes leave out, and none is read here
                if (conversation := reader.read(record)) is not None:
                    self._conversations.append(conversation)
        self.skipped, self.left_out = reader.skipped, reader.left_out
        refuse_nothing(len(self), len(self.skipped), self.skipped, self.left_out, place)
        reader.names.refuse_unknown(place)

    def __len__(self) -> int:
        return len(self._conversations)

    def __getitem__(self, index: SupportsIndex) -> Conversation:
        return self._conversations[index]


class JsonlSource(CheckedRecords):
    """The records of one or several files; blank lines do not count."""

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | File],
        fields: FieldNames = DEFAULT_FIELDS,
        on_bad_example: str = "stop",
        turns: TurnsConfig = DEFAULT_TURNS,
        field: str = "data.path",
    ):
        """Reads and checks every record.

        Raises:
            DataError: a file cannot be read, or (unless skipped) a record is malformed; or no record has a
                name of `fields`.
        """
        given = [paths] if isinstance(paths, str | os.PathLike) else paths
        files = [p if isinstance(p, File) else File(os.fspath(p)) for p in given]
        if not files:
            raise DataError("data.path names no file; set --config.data.path=FILE, or several with commas")
        place = ", ".join(file.path for file in files)
        super().__init__(chunks(files, field), place, fields, on_bad_example, turns)
