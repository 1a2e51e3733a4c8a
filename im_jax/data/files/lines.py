"""The lines of a JSON Lines file."""

import math
from collections.abc import Iterator
from typing import Final

from im_jax.data.files import opening
from im_jax.data.files.opening import Opened, Readable
from im_jax.errors import DataError

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def lines_of(source: Opened, readable: Readable) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank.

    Args:
        source: what is read.
        readable: told how far.

    Raises:
        DataError: it is beyond the limits.
    """
    longest, limit = opening.MAX_LINE, source.limit if source.packing else math.inf
    number = read = 0
    while line := source.file.readline(longest + 1):
        number += 1
        read += len(line)
        if len(line) > longest:
            raise DataError(
                f"{source.path}:{number}: is a line of more than {longest >> 20} MiB; each line must be one "
                "record, so split it into several, or remove it"
            )
        if read > limit:
            source.refuse_bomb(str(number))
        readable.number = number
        text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if text.strip():
            yield number, text.rstrip(b"\r\n")
