"""The elements of a JSON array, found without decoding it and in bounded memory.

Only brackets, commas, quotes and backslashes matter, a tenth of a text. NumPy finds them in a block at a
time; an element ends at a comma outside of strings and of inner brackets:

    text      [ { " a " : " x , y " } , 3 ]
    depth     1 2                   1 1   0
    ends                              ^   ^
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import jaxtyping as jt
import numpy as np

from im_jax.data.files import opening
from im_jax.data.files.lines import BYTE_ORDER_MARK
from im_jax.data.files.opening import Opened, Readable
from im_jax.errors import DataError

_BLOCK: Final = 1 << 20
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = range(1, 6)
_KINDS: Final = np.zeros(256, np.uint8)
_KINDS[list(b'"\\[{]},')] = _QUOTE, _BACKSLASH, _OPEN, _OPEN, _CLOSE, _CLOSE, _COMMA


def elements_of(source: Opened, readable: Readable) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each element; whether they are JSON is not known.

    Args:
        source: what is read; its first character that is no white space is `[`.
        readable: told how far.

    Raises:
        DataError: the array does not end, or something follows it; or it is beyond the limits.
    """
    scan, number, pending = _Scan(), 0, bytearray()
    first = True
    blocks = _blocks(source, readable)
    for block in blocks:
        block = block.removeprefix(BYTE_ORDER_MARK) if first else block
        start = 0
        for end in scan.ends(block).tolist():
            pending += block[start:end]
            number += 1
            _refuse_long(source, number, len(pending))
            text = bytes(pending).strip()
            pending, start = bytearray(), end + 1
            closes = block[end : end + 1] == b"]"
            if closes and number == 1 and not text.removeprefix(b"["):
                break
            yield number, text.removeprefix(b"[") if number == 1 else text
            readable.number = number
            if closes:
                break
        first = False
        rest = block[start:]
        if scan.ended:
            _refuse_rest(source.path, readable, itertools.chain([rest], blocks))
            return
        pending += rest
        _refuse_long(source, number + 1, len(pending))
    raise DataError(
        f"{source.path}: is a JSON array that ends after {readable.place}, before its ]; copy it again"
    )


def _refuse_long(source: Opened, number: int, size: int) -> None:
    if size > opening.MAX_LINE:
        raise DataError(
            f"{source.path}:element {number}: is of more than {opening.MAX_LINE >> 20} MiB, or a quote or "
            "bracket in it is not closed; each element must be one record, so split it, or remove it"
        )


def _blocks(source: Opened, readable: Readable) -> Iterator[bytes]:
    read = 0
    while block := source.file.read(_BLOCK):
        read += len(block)
        if source.packing and read > source.limit:
            source.refuse_bomb(readable.place)
        yield block


def _refuse_rest(path: str, readable: Readable, blocks: Iterable[bytes]) -> None:
    """Stop at what follows an array: it would be lost."""
    for block in blocks:
        if text := block.strip():
            raise DataError(
                f"{path}: is a JSON array that ends after {readable.place}, and is followed by "
                f"{text[:30].decode(errors='replace')!a}; a file must be one array, or one JSON object a "
                "line"
            )


class _Scan:
    """Where elements end, block by block."""

    def __init__(self) -> None:
        self._depth, self._quoted, self._escaped = 0, False, False
        self.ended = False
        """Whether the array was closed."""

    def ends(self, block: bytes) -> jt.Int64[np.ndarray, " E"]:
        """Positions in the next block of commas between elements, and of the bracket that ends the array."""
        kinds = _KINDS[np.frombuffer(block, np.uint8)]
        places = np.flatnonzero(kinds)
        kinds = kinds[places]
        if self._escaped and places.size and places[0] == 0:
            places, kinds = places[1:], kinds[1:]
        self._escaped = False
        if (kinds == _BACKSLASH).any():
            places, kinds = self._without_escaped(places, kinds, len(block))
        quotes = np.cumsum(kinds == _QUOTE)
        outside = (quotes + self._quoted) % 2 == 0
        self._quoted ^= bool(quotes.size and quotes[-1] % 2)
        places, kinds = places[outside], kinds[outside]
        steps = (kinds == _OPEN).astype(np.int64) - (kinds == _CLOSE)
        depth = self._depth + np.cumsum(steps)
        self._depth = int(depth[-1]) if depth.size else self._depth
        ends = ((kinds == _COMMA) & (depth == 1)) | ((kinds == _CLOSE) & (depth == 0))
        self.ended = bool(((kinds == _CLOSE) & (depth == 0)).any())
        return places[ends]

    def _without_escaped(
        self, places: jt.Int64[np.ndarray, " N"], kinds: jt.UInt8[np.ndarray, " N"], size: int
    ) -> tuple[jt.Int64[np.ndarray, " K"], jt.UInt8[np.ndarray, " K"]]:
        """Without backslashes and what they escape; in a run of backslashes each second one is escaped."""
        slashes = places[kinds == _BACKSLASH]
        starts = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        run = np.repeat(starts, np.diff(np.append(starts, slashes.size)))
        escaping = slashes[(np.arange(slashes.size) - run) % 2 == 0]
        self._escaped = bool(escaping.size and escaping[-1] == size - 1)
        plain = np.ones(size + 1, bool)
        plain[escaping + 1] = False
        kept = plain[places] & (kinds != _BACKSLASH)
        return places[kept], kinds[kept]
