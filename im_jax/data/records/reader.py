"""The records of a source read one by one: conversations, and what became of the others."""

from collections import Counter

from im_jax.config import FieldNames, TurnsConfig
from im_jax.data.files import BadRecord, Record
from im_jax.data.records.bad_examples import BadExamples
from im_jax.data.records.conversation import Conversation
from im_jax.data.records.formats import NameCheck
from im_jax.data.records.reading import conversation_of
from im_jax.data.records.turns import LeftOutByTurns
from im_jax.errors import DataError


class RecordReader:
    """Reads records, and counts those that are no conversation."""

    def __init__(self, fields: FieldNames, turns: TurnsConfig, on_bad_example: str) -> None:
        """Arguments as the fields of `data`. Raises `ConfigError` as `BadExamples`."""
        self._fields, self._turns = fields, turns
        self._bad = BadExamples(on_bad_example)
        self.names = NameCheck(fields)
        """Of the records that are conversations."""
        self.left_out: Counter[str] = Counter()
        """Records that `data.turns` leaves out, by reason."""

    @property
    def skipped(self) -> list[str]:
        """One message for each malformed record."""
        return self._bad.skipped

    def read(self, record: Record | BadRecord) -> Conversation | None:
        """Its conversation; None where it is left out.

        Raises:
            DataError: it is malformed, and such are to `stop` the run.
        """
        try:
            conversation = conversation_of(record, self._fields, self._turns)
        except DataError as error:
            self._bad.meet(error)
            return None
        except LeftOutByTurns as reason:
            self.left_out[str(reason)] += 1
            return None
        assert isinstance(record, Record)
        self.names.see(record.value)
        return conversation
