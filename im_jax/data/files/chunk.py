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


@runtime_checkable
class Chunk(Protocol):
    """Neighbouring records of one file, in order; can be pickled."""

    def records(self) -> Iterator[Record | BadRecord]:
        """Decode them. Raises `DataError` where the file as a whole turns out to be wrong."""
