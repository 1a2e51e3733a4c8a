"""Records as conversations in memory, by index."""

import os
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from im_jax.config import FieldNames
from im_jax.data.files import Chunk, File, LeftOutRecord, Record, chunks
from im_jax.data.records import DEFAULT_FIELDS, Conversation, NameCheck, conversation_of
from im_jax.data.records.bad_examples import BadExamples
from im_jax.errors import DataError


class CheckedRecords:
    """Conversations of records that were read and checked, in order. Threads may share them."""

    skipped: Sequence[str]
    """One message for each malformed record that was left out (`on_bad_example="skip"`)."""

    def __init__(
        self,
        records: Iterable[Chunk],
        place: str,
        fields: FieldNames = DEFAULT_FIELDS,
        on_bad_example: str = "stop",
    ):
        """Reads and checks every record.

        Args:
            records: in chunks.
            place: where they are, for errors.
            fields: what the fields of a record are called.
            on_bad_example: `stop` or `skip`.

        Raises:
            DataError: (unless skipped) a record is malformed; or no record has a name of `fields`.
        """
        bad, names = BadExamples(on_bad_example), NameCheck(fields)
        self._conversations: list[Conversation] = []
        for chunk in records:
            for record in chunk.records():
                assert not isinstance(record, LeftOutRecord)  # recipes leave out, and none is read here
                try:
                    conversation = conversation_of(record, fields)
                except DataError as error:
                    bad.meet(error)
                else:
                    self._conversations.append(conversation)
                    assert isinstance(record, Record)
                    names.see(record.value)
        self.skipped = bad.skipped
        bad.refuse_nothing(len(self), place)
        names.refuse_unknown(place)

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
        super().__init__(chunks(files, field), ", ".join(file.path for file in files), fields, on_bad_example)
