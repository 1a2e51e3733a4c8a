"""Names of millions of examples in flat arrays: most end in a number, and share what stands before it."""

import array
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, overload

import jaxtyping as jt
import numpy as np

_NUMBERED: Final = re.compile(r"(.*?)(0|[1-9][0-9]{0,17})?", re.DOTALL)
"""A name as a prefix and a number that is written in one way only and fits 64 bits."""
_NO_NUMBER: Final = -1


@dataclass(frozen=True, eq=False)
class Ids(Sequence[str]):
    """Ids of E examples: 12 bytes each where they count on, such as `train.jsonl:1`, `train.jsonl:2`.

        text `train.jsonl:` `a` `b`    prefixes 0 0 1 2    numbers 1 2 -1 -1

    is `train.jsonl:1`, `train.jsonl:2`, `a`, `b`.
    """

    text: jt.UInt8[np.ndarray, " B"]
    """The prefixes end to end, as UTF-8."""
    bounds: jt.Int64[np.ndarray, " P_plus_1"]
    """Prefix `p` is `text[bounds[p]:bounds[p + 1]]`."""
    prefixes: jt.Int32[np.ndarray, " E"]
    """Which prefix an id has."""
    numbers: jt.Int64[np.ndarray, " E"]
    """What follows it, in decimal; nothing where it is -1."""

    @classmethod
    def of(cls, ids: Sequence[str]) -> "Ids":
        """The same ids, compactly."""
        builder = IdsBuilder()
        for name in ids:
            builder.add(name)
        return builder.finish()

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Ids": ...

    def __getitem__(self, index: int | slice) -> "str | Ids":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        prefix, number = int(self.prefixes[index]), int(self.numbers[index])
        text = self.text[self.bounds[prefix] : self.bounds[prefix + 1]].tobytes()
        return text.decode(errors="surrogatepass") + ("" if number == _NO_NUMBER else str(number))

    def take(self, numbers: jt.Int[np.ndarray, " N"]) -> "Ids":
        """Those of some examples."""
        return Ids(self.text, self.bounds, self.prefixes[numbers], self.numbers[numbers])


class IdsBuilder:
    """Joins ids as they come; a prefix is stored again only where it differs from the one before."""

    def __init__(self) -> None:
        self._text, self._bounds = bytearray(), array.array("q", [0])
        self._prefixes, self._numbers = array.array("i"), array.array("q")
        self._last: str | None = None

    def add(self, name: str) -> None:
        """Append an id."""
        match = _NUMBERED.fullmatch(name)
        assert match is not None  # every text is a prefix and perhaps a number
        prefix, number = match[1], match[2]
        if prefix != self._last:
            self._text += prefix.encode(errors="surrogatepass")  # a file's name may be no UTF-8
            self._bounds.append(len(self._text))
            self._last = prefix
        self._prefixes.append(len(self._bounds) - 2)
        self._numbers.append(_NO_NUMBER if number is None else int(number))

    def finish(self) -> Ids:
        """All of them; nothing can be added after."""
        return Ids(
            np.frombuffer(self._text, np.uint8),
            np.frombuffer(self._bounds, np.int64),
            np.frombuffer(self._prefixes, np.int32),
            np.frombuffer(self._numbers, np.int64),
        )
