"""Some hundred records of a file, small enough to be sent to another process, and decoded there."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Record(NamedTuple):
    """A decoded record."""

    origin: str
    """Where it was read, such as `file:line`: for error messages, and its name if it has none."""
    value: Any
    """In the types of decoded JSON; whether it is of use is not known yet."""


class BadRecord(NamedTuple):
    """A record that cannot be decoded."""

    origin: str
    message: str
    """What is wrong with it, with its origin."""


class LeftOutRecord(NamedTuple):
    """A record that is no part of the training set that is asked for."""

    origin: str
    reason: str
    """The same for all that are left out for it: they are counted by it."""


AnyRecord = Record | BadRecord | LeftOutRecord


@runtime_checkable
class Chunk(Protocol):
    """Neighbouring records of one file, in order; can be pickled."""

    @property
    def stored(self) -> int:
        """About how many bytes of the file, packed as it is, they are; of all its chunks, its size."""

    def __len__(self) -> int:
        """Records in the file, whatever becomes of them."""

    def records(self) -> Iterator[AnyRecord]:
        """Decode them. Raises `DataError` where the file as a whole turns out to be wrong."""
