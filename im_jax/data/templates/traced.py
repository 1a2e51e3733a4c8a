"""Texts that know whose characters they are, whatever a chat template does with them.

A template is a program that writes text, and nothing says which text is whose. Looking for a content in what
is written would mislead: a user may quote the answer, or the template. So contents are given to the template
as `Traced` texts. A traced text behaves as any text; cut, stripped, split, joined or replaced in, its parts
keep their *runs*: characters `start:end` are those of part `part` from character `source` on.

    content       "<think>\\nTwo.\\n</think>\\n\\nFour."         as part 3
    .split("</think>")[-1].lstrip("\\n")   "Four."            run (0, 5, part 3, source 25, length 5)
    "<|assistant|>\\n" + it                "...Four."          run (14, 19, part 3, ...)

What is done only to compare (`lower`, `length`, `in`) is free. A text that came out of an operation which
loses whose it is has a `Lost` part, so that it is refused if it is written, with the operation's name.

Runs may be empty: marks of where the turns of loops over messages begin and end travel as such (`Turn`).
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, SupportsIndex

import markupsafe


class Lost(NamedTuple):
    """Characters made of a part by an operation that does not tell which of them are the part's."""

    part: Any
    operation: str


class Turn(NamedTuple):
    """A mark: from here on the loop over the messages writes this one."""

    message: int


class Enter(NamedTuple):
    """A mark: here a loop begins; at its `Leave` the turn is again what it is here."""


class Leave(NamedTuple):
    """A mark: here a loop ends."""


class Run(NamedTuple):
    """Characters `start:end` of a text, which stand for `length` of a part from its character `source` on."""

    start: int
    end: int
    part: Any
    """Number of a part, a `Lost` one, or a mark."""
    source: int
    length: int
    """`end - start`, unless characters are written otherwise, as those that JSON escapes."""

    def within(self, start: int, end: int) -> "Run":
        """What of it is in `start:end` of its text, counted from there."""
        begin, stop = max(self.start, start), min(self.end, end)
        if self.length != self.end - self.start:
            return Run(begin - start, stop - start, self.part, self.source, self.length)
        return Run(begin - start, stop - start, self.part, self.source + begin - self.start, stop - begin)


class Traced(str):
    """A text with runs, in order; what they leave out is the template's own."""

    __slots__ = ("runs",)
    runs: Sequence[Run]

    def __str__(self) -> str:
        return self

    def __add__(self, other: str) -> str:
        return concat((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return concat((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> str:
        return concat([self] * times.__index__())

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> str:
        return lost(str.__mod__(self, values), "%", self, values)

    def __getitem__(self, index: SupportsIndex | slice) -> str:
        if not isinstance(index, slice):
            at = operator.index(index)
            return self.cut(at + len(self) if at < 0 else at, str.__getitem__(self, at))
        start, _, step = index.indices(len(self))
        text = str.__getitem__(self, index)
        return self.cut(start, text) if step == 1 else lost(text, "[::]", self)

    def __iter__(self) -> Iterator[str]:
        return (self.cut(at, character) for at, character in enumerate(str.__iter__(self)))

    def cut(self, start: int, text: str) -> str:
        """The part of this text that is `text` and starts at `start`."""
        end = start + len(text)
        if end - start == len(self):
            return self
        runs = [
            run.within(start, end)
            for run in self.runs
            if (run.start < end and run.end > start) or (run.start == run.end and start <= run.start <= end)
        ]
        return traced(text, runs)

    def _cuts(self, texts: Iterable[str], between: int | None) -> list[str]:
        """Parts of this text, one after the other, with so many characters between, or white space."""
        found, at = [], 0
        for text in texts:
            at = at if between is not None else self.index(text, at)
            found.append(self.cut(at, text))
            at += len(text) + (between or 0)
        return found

    def strip(self, chars: str | None = None, /) -> str:
        return self._stripped(str.strip, chars)

    def lstrip(self, chars: str | None = None, /) -> str:
        return self._stripped(str.lstrip, chars)

    def rstrip(self, chars: str | None = None, /) -> str:
        return self.cut(0, str.rstrip(self, chars))

    def _stripped(self, method: Callable[[str, str | None], str], chars: str | None) -> str:
        return self.cut(len(self) - len(str.lstrip(self, chars)), method(self, chars))

    def removeprefix(self, prefix: str, /) -> str:
        text = str.removeprefix(self, prefix)
        return self.cut(len(self) - len(text), text)

    def removesuffix(self, suffix: str, /) -> str:
        return self.cut(0, str.removesuffix(self, suffix))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._cuts(str.split(self, sep, maxsplit), None if sep is None else len(sep))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._cuts(str.rsplit(self, sep, maxsplit), None if sep is None else len(sep))

    def splitlines(self, keepends: bool = False) -> list[str]:
        whole = self._cuts(str.splitlines(self, True), 0)
        bare = str.splitlines(self)
        return whole if keepends else [line[: len(text)] for line, text in zip(whole, bare, strict=True)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._cuts(str.partition(self, sep), 0)
        return before, found, after

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._cuts(str.rpartition(self, sep), 0)
        return before, found, after

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if old not in self:
            return self
        if not old:
            return lost(str.replace(self, old, new, count), "replace", self, new)
        parts = self.split(old, count)
        return join(new, parts)

    def join(self, texts: Iterable[str], /) -> str:
        return join(self, texts)

    def format(self, *args: Any, **kwargs: Any) -> str:
        return lost(str.format(self, *args, **kwargs), "format", self, args, kwargs)


def _losing(name: str) -> Callable[..., str]:
    method = getattr(str, name)

    def changed(self: Traced, *args: Any) -> str:
        return lost(method(self, *args), name, self)

    changed.__name__ = name
    return changed


for _name in ("capitalize", "casefold", "lower", "swapcase", "title", "upper"):
    setattr(Traced, _name, _losing(_name))


def traced(text: str, runs: Sequence[Run]) -> str:
    """A text with runs; the text itself where it has none."""
    if not runs:
        return text
    made = Traced(text)
    made.runs = runs
    return made


def concat(texts: Iterable[str]) -> str:
    """The texts one after the other."""
    parts = texts if isinstance(texts, list | tuple) else list(texts)
    runs: list[Run] = []
    at = 0
    for part in parts:
        if isinstance(part, Traced):
            runs += [Run(s + at, e + at, p, c, n) for s, e, p, c, n in part.runs] if at else part.runs
        at += len(part)
    return traced("".join(parts), runs)


def join(separator: str, texts: Iterable[str]) -> str:
    """`separator.join(texts)`, whatever of them is traced."""
    parts: list[str] = []
    for text in texts:
        parts += (separator, text)
    return concat(parts[1:])


def mark(part: Turn | Enter | Leave) -> str:
    """An empty text that carries a mark."""
    return traced("", (Run(0, 0, part, 0, 0),))


def parts_of(value: Any) -> Iterator[Any]:
    """The parts of all traced texts in a value."""
    if isinstance(value, Traced):
        yield from (run.part for run in value.runs if run.end > run.start)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts_of(item)
    elif isinstance(value, dict):
        for item in value.items():
            yield from parts_of(item)


def lost(text: str, operation: str, *sources: Any) -> str:
    """What an operation made of traced texts, or of others, without telling which characters are whose.

    Characters that an operation leaves as they were are not lost: a template may ask for capitals of a text
    that has them.
    """
    if not text or text is sources[0]:
        return text
    parts = list(parts_of(sources))
    if not parts:
        return text
    if isinstance(sources[0], Traced) and text == sources[0]:
        return sources[0]
    part = parts[0]
    part = part if isinstance(part, Lost) else Lost(part, operation)
    return traced(text, (Run(0, len(text), part, 0, 0),))


class SafeTraced(Traced):
    """A traced text that is marked as HTML: added to another text, it would escape that."""

    __slots__ = ()

    def __add__(self, other: str) -> str:
        return self._added(super().__add__(other), other)

    def __radd__(self, other: str) -> str:
        return self._added(super().__radd__(other), other)

    def _added(self, text: str, other: str) -> str:
        return text if markupsafe.escape(other) == other else lost(str.__str__(text), "safe", self)


def safe(text: str) -> str:
    """A text marked as HTML."""
    if not isinstance(text, Traced):
        return markupsafe.Markup(text)
    made = SafeTraced(text)
    made.runs = text.runs
    return made
