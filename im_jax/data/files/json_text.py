"""JSON, decoded record by record: what Python's json would let pass is refused with the place."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from im_jax.data.files.chunk import BadRecord, Record
from im_jax.errors import DataError


@dataclass(frozen=True)
class JsonChunk:
    """Lines of a JSON Lines file."""

    path: str
    texts: tuple[tuple[int, bytes], ...]
    """Number (from 1) and text of each."""

    def __len__(self) -> int:
        return len(self.texts)

    def records(self) -> Iterator[Record | BadRecord]:
        """See `Chunk.records`."""
        for number, text in self.texts:
            origin = f"{self.path}:{number}"
            try:
                yield Record(origin, _decode(text, origin))
            except DataError as error:
                yield BadRecord(origin, str(error))


def _decode(line: bytes, origin: str) -> object:
    try:
        return json.loads(line.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        bad = f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}"
        raise DataError(f"{origin}: is not UTF-8 at {bad}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at column {error.colno}"
        raise DataError(f"{origin}: is not JSON: {where}; each line must be one whole JSON object") from None
    except _TwiceError as error:
        raise DataError(f"{origin}: has the field {error} twice in one object; keep one of them") from None
    except (ValueError, RecursionError) as error:  # a number of over 4,300 digits, a very deep nesting
        raise DataError(f"{origin}: is beyond what Python's json reads: {error}") from None


class _TwiceError(Exception):
    """A JSON object that has a field twice, of which Python would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(ascii(next(name for name in names if names.count(name) > 1))[:60])
    return found
