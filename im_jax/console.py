"""The one way to a terminal: nothing printed is read as markup, steers the terminal, or lacks an encoding.

Commands print with `Console` (tables, bars) or `print_text` (lines). `tests/test_console.py` stops at any
other way.
"""

import io
import sys
from typing import Any, Final, Protocol, runtime_checkable

import rich.console
import rich.status
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

from im_jax.text import as_json, plain, storable

_ENDLESS: Final = 10_000
"""Columns of a terminal that every table fits."""


@runtime_checkable
class Stream(Protocol):
    """What text is printed to: `sys.stderr`, an open file."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class Console(rich.console.Console):
    """rich's console for text of others.

    Strings, those in tables too, are shown as they stand: `[/x]` is no markup, `:x:` no emoji, numbers have
    no colours, and control characters are escapes. A line is never broken: a path that is copied is whole.
    """

    def __init__(self, **options: Any) -> None:
        """Args: those of rich's console, such as `file`, `stderr`, `quiet`, `width`."""
        super().__init__(**{"markup": False, "highlight": False, "emoji": False} | options)
        _never_fail(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        """rich's `print`; what is text alone is not wrapped, and a table that is too wide loses its lines."""
        for item in objects:
            if isinstance(item, Table):
                self._fit(item)
        only_text = all(isinstance(item, str) for item in objects)
        super().print(*objects, **{"soft_wrap": only_text or None} | options)

    def _fit(self, table: Table) -> None:
        """Make room for the numbers of a table where the terminal is narrow: rich would cut them."""
        natural = Measurement.get(self, self.options.update(max_width=_ENDLESS), table).maximum
        if natural > self.width:
            table.box, table.padding = None, (0, 1, 0, 0)
            for column in table.columns:
                column.overflow = "fold"

    def render_str(self, text: str, **options: Any) -> Text:
        """What rich makes of each string that it is given."""
        ignored = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(plain(text), **options | ignored)

    def on_broken_pipe(self) -> None:
        """Leave it to the command to end, where rich would exit with code 1."""
        raise BrokenPipeError(f"nobody reads {getattr(self.file, 'name', 'this stream')} any more")

    def status(self, status: Any, **options: Any) -> rich.status.Status:
        """rich's `status`, which would read markup in a string."""
        return super().status(words(status), **options)


class Words(ProgressColumn):
    """A column of a progress bar: a field of its task, or the same words for all.

    Where a terminal is narrow, fields are cut short first, and words and counts last.
    """

    def __init__(self, words: str = "", *, field: str = "") -> None:
        super().__init__(table_column=Column(no_wrap=not field))
        self._words, self._field = words, field

    def render(self, task: Task) -> Text:
        """What stands in the column now, on one line."""
        text = words(task.fields[self._field] if self._field else self._words)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def bar_column(console: Console) -> ProgressColumn:
    """A column with the bar itself, short where the terminal is narrow: words and numbers say more."""
    return BarColumn(min(max(4, (console.width - 30) // 3), 40))


def count_column() -> ProgressColumn:
    """A column of a progress bar: how many are done, of how many."""
    return MofNCompleteColumn(table_column=Column(no_wrap=True))


def size_column() -> ProgressColumn:
    """A column of a progress bar that counts bytes: how many are done, of how many, as `1.2/3.4 GB`."""
    return DownloadColumn(table_column=Column(no_wrap=True))


def words(text: object, style: str = "") -> Text:
    """Text of others for rich, where that would read markup in a string; with a style."""
    return text if isinstance(text, Text) else Text(plain(text), style=style)


def print_text(text: object, file: Stream | None = None) -> None:
    """Print lines on standard output, or to a file such as `sys.stderr`, at once."""
    file = sys.stdout if file is None else file
    file.write(storable(plain(text), getattr(file, "encoding", None)) + "\n")
    file.flush()


def print_json(record: Any, file: Stream | None = None) -> None:
    """Print one line of JSON, at once."""
    file = sys.stdout if file is None else file
    file.write(as_json(record, getattr(file, "encoding", None) or "utf-8") + "\n")
    file.flush()


def _never_fail(file: Any) -> None:
    """Let a stream for people write an escape for what its encoding lacks, and not raise."""
    if isinstance(file, io.TextIOWrapper) and file.errors == "strict":
        file.reconfigure(errors="backslashreplace")
