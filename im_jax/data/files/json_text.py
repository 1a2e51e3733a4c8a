"""JSON, decoded record by record: what Python's json would let pass is refused with the place."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from im_jax.data.files.chunk import BadRecord, Record


@dataclass(frozen=True)
class JsonChunk:
    """Lines of a JSON Lines file, or elements of a JSON array."""

    path: str
    unit: str
    """`line` or `element`."""
    texts: tuple[tuple[int, bytes], ...]
    """Number (from 1) and text of each."""
    stored: int
    """See `Chunk.stored`."""

    def __len__(self) -> int:
        return len(self.texts)

    def records(self) -> Iterator[Record | BadRecord]:
        """See `Chunk.records`."""
        prefix = f"{self.path}:" if self.unit == "line" else f"{self.path}:{self.unit} "
        for number, text in self.texts:
            try:
                yield Record(f"{prefix}{number}", _DECODER.decode(text.decode()))
            except (ValueError, RecursionError, _TwiceError) as error:
                yield BadRecord(f"{prefix}{number}", f"{prefix}{number}: {_problem(error, text, self.unit)}")


def _problem(error: Exception, text: bytes, unit: str) -> str:
    """What is wrong with a text that cannot be decoded."""
    if isinstance(error, UnicodeDecodeError):
        bad = f"byte {error.start + 1} of the {unit}, 0x{text[error.start]:02x}"
        return f"is not UTF-8 at {bad}; save the file as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        where = f"{error.msg} at {line}column {error.colno}"
        return f"is not JSON: {where}; each {unit} must be one whole JSON object"
    if isinstance(error, _TwiceError):
        return f"has the field {error} twice in one object; keep one of them"
    return (
        f"is beyond what Python's json reads: {error}"  # a number of over 4,300 digits, a very deep nesting
    )


class _TwiceError(Exception):
    """A JSON object that has a field twice, of which Python would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(ascii(next(name for name in names if names.count(name) > 1))[:60])
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object)
"""One for all records: making it takes as long as decoding a short one."""
