"""Signs of life: what is being done while a user sees nothing else."""

import contextlib
import enum
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, Protocol, runtime_checkable

from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from im_jax.console import Console, Words, bar_column, count_column, size_column

Advance = Callable[[int], None]
"""Told how many more of the things that are worked on are done."""

_FIRST_SECONDS: Final = 5.0
"""Work that is done sooner leaves no line in a log."""
_LATER_SECONDS: Final = 60.0


class Unit(enum.Enum):
    """What is counted of the work that is done."""

    THINGS = "things"
    BYTES = "bytes"


@runtime_checkable
class Activity(Protocol):
    """Shows what is being done, as long as its context lasts: see `on_console`."""

    def __call__(
        self, what: str, total: int | None = None, unit: Unit = Unit.THINGS
    ) -> AbstractContextManager[Advance]:
        """`what` is like "encoding 7,473 examples"; `total` is their number, where they can be counted."""


@contextlib.contextmanager
def silent(what: str, total: int | None = None, unit: Unit = Unit.THINGS) -> Iterator[Advance]:
    """Shows nothing."""
    del what, total, unit
    yield lambda more: None


def on_console(console: Console) -> Activity:
    """A bar or a spinner that goes again on a terminal; lines elsewhere, for work that takes long."""

    @contextlib.contextmanager
    def bar(what: str, total: int | None = None, unit: Unit = Unit.THINGS) -> Iterator[Advance]:
        count = size_column() if unit is Unit.BYTES else count_column()
        columns = (bar_column(console), count) if total else (TimeElapsedColumn(),)
        with Progress(SpinnerColumn(), Words(what), *columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda more: progress.advance(task, more)

    @contextlib.contextmanager
    def lines(what: str, total: int | None = None, unit: Unit = Unit.THINGS) -> Iterator[Advance]:
        done, began, ended = 0, time.monotonic(), threading.Event()

        def advance(more: int) -> None:
            nonlocal done
            done += more

        def speak() -> None:
            wait = _FIRST_SECONDS
            while not ended.wait(wait):
                so_far = ""
                if total:
                    said = f"{done:,} of them" if unit is Unit.THINGS else f"{min(done / total, 1):.0%}"
                    so_far = f", {said} so far"
                console.print(f"{what}{so_far} ({time.monotonic() - began:.0f} s)")
                wait = _LATER_SECONDS

        if not console.quiet:
            threading.Thread(target=speak, daemon=True).start()
        try:
            yield advance
        finally:
            ended.set()

    return bar if console.is_terminal else lines
