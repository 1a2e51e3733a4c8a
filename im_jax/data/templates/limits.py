"""What a rendering may cost: a chat template is a program of strangers, and may not hang or fill the memory.

Everything that can make a value larger or take a step is charged before it happens (`sandbox.py` says where).
Steps and characters do not depend on the machine; the clock stands behind them.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

MAX_STEPS: Final = 300_000
"""Turns of loops, calls, filters, operators and elements of lists, in one rendering."""
MAX_CHARACTERS: Final = 1 << 26
"""Characters written, and made on the way, in one rendering."""
MAX_TEXT: Final = 1 << 24
"""Characters of one value."""
MAX_BITS: Final = 1 << 12
"""Of a whole number."""
MAX_DEPTH: Final = 100
"""Of calls within calls, and of lists within lists."""
MAX_NESTED: Final = 40
"""Blocks within blocks, such as loops in loops: what Jinja makes of them takes the square of the time."""
MAX_SECONDS: Final = 10.0
"""Of the processor's time, so that a busy machine refuses nothing."""
_CHARACTERS_OF_OTHERS: Final = 8
_CHARACTERS_A_STEP: Final = 64
_STEPS_BETWEEN_LOOKS: Final = 16


class LimitError(Exception):
    """A template that does more than a chat template has use for."""


class Budget:
    """What is left of one rendering."""

    def __init__(self) -> None:
        self._steps, self._characters, self.depth = MAX_STEPS, MAX_CHARACTERS, 0
        self._until, self._look = time.thread_time() + MAX_SECONDS, 0

    def steps(self, count: int = 1) -> None:
        """Take some steps."""
        self._steps -= count
        if self._steps < 0:
            raise LimitError(f"takes more than {MAX_STEPS:,} steps")
        self._look += 1
        if self._look >= _STEPS_BETWEEN_LOOKS:
            self._look = 0
            if time.thread_time() > self._until:
                raise LimitError(f"takes more than {MAX_SECONDS:g} seconds")

    def text(self, characters: int) -> None:
        """Make or write a text."""
        if characters > MAX_TEXT:
            raise LimitError(f"makes a text of more than {MAX_TEXT >> 20} million characters")
        self._characters -= characters
        if self._characters < 0:
            raise LimitError(f"writes more than {MAX_CHARACTERS >> 20} million characters")

    def made(self, value: Any) -> Any:
        """Charge a value that was made, and return it."""
        if isinstance(value, str):
            self.text(len(value))
        elif isinstance(value, list | tuple | dict):
            self.steps(size_of(value)[0])
        return value

    def used(self, value: Any) -> None:
        """Charge looking at all of a value."""
        if isinstance(value, str):
            self.steps(len(value) // _CHARACTERS_A_STEP)
        elif isinstance(value, list | tuple | dict | range):
            self.steps(len(value))

    def turns(self, items: Iterable[Any], literal: int) -> Iterator[Any]:
        """The items of a loop whose body has so many characters of its own."""
        for item in items:
            self.steps()
            self.text(literal)
            yield item


_CURRENT: ContextVar[Budget] = ContextVar("budget of a rendering")


def current() -> Budget:
    """The budget of the rendering that is going on."""
    return _CURRENT.get()


@contextmanager
def bounded() -> Iterator[Budget]:
    """A budget for what is done inside."""
    budget = Budget()
    token = _CURRENT.set(budget)
    try:
        yield budget
    finally:
        _CURRENT.reset(token)


def size_of(value: Any) -> tuple[int, int]:
    """Elements and characters of a value when all lists in it are written out, however often each is shared.

    Raises:
        LimitError: there are too many, or lists within lists too deep.
    """
    elements = characters = 0
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        elements += 1
        number = part.bit_length() // 3 if isinstance(part, int) else 0
        characters += len(part) if isinstance(part, str) else _CHARACTERS_OF_OTHERS + number
        if elements > MAX_STEPS or depth > MAX_DEPTH:
            raise LimitError("makes lists that are too large or too deep")
        if isinstance(part, list | tuple | dict):
            inner = [*part.keys(), *part.values()] if isinstance(part, dict) else part
            waiting += [(item, depth + 1) for item in inner]
    return elements, characters
