"""What a user sees of a sweep while it goes on: a line for each run that ends, and a bar over the grid."""

import contextlib
import difflib
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from im_jax.sweeps.aggregation import measured
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import Measure
from im_jax.sweeps.results import Result, Status

_TAIL: Final = 4096
"""Bytes at the end of metrics.jsonl that are sure to hold its last line."""


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Progress over a whole grid."""

    def __init__(self, console: Console, total: int, skipped: int, measures: Sequence[Measure]) -> None:
        self._console, self._total, self._skipped, self._measures = console, total, skipped, measures
        self._finished = self._failed = 0
        self._seconds = 0.0
        self._cell: Cell | None = None
        self._directory, self._began = pathlib.Path(), 0.0
        self._bar = Bar(
            TextColumn("sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=skipped, text="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, cell: Cell, directory: pathlib.Path) -> None:
        """Take note of a run that begins."""
        self._cell, self._directory, self._began = cell, directory, time.perf_counter()
        if self._bar.disable and not self._finished + self._failed:
            self._print(f"{self._place()}: {cell.name} begins")
        self.look()

    def look(self) -> None:
        """Show how far the run is."""
        if self._bar.disable or self._cell is None:
            return
        step, steps = _last_step(self._directory / "metrics.jsonl"), self._cell.config.train.steps
        at = f"step {step}{f'/{steps}' if steps else ''}" if step else "starting"
        failed = f"{self._failed} failed  " if self._failed else ""
        text = f"{failed}{self._cell.name}: {at}  {self._time_left(time.perf_counter() - self._began)}"
        self._bar.update(self._task, text=text)

    def end(self, cell: Cell, result: Result) -> None:
        """Show a run that has ended."""
        self._seconds += result.seconds
        self._finished += result.status is Status.FINISHED
        self._failed += result.status is Status.FAILED
        line = f"{self._place(0)}: {cell.name}  {result.status.value} in {result.seconds:.0f} s"
        if result.status is Status.FAILED:
            self._print(f"{line}: {result.error}")
            return self._advance()
        if self._finished == 1:
            self._name_missing(result)
        numbers = [
            f"{measure.title or measure.name} {value:.4g}"
            for measure in self._measures
            if (value := measured(result, measure)) is not None
        ]
        self._print("  ".join([line, *numbers, self._time_left() if self._bar.disable else ""]).rstrip())
        return self._advance()

    def _name_missing(self, result: Result) -> None:
        """Say early what the report will not have."""
        for measure in self._measures:
            if measure.name not in result.summary:
                near = difflib.get_close_matches(measure.name, list(result.summary), n=3)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                self._print(f"the summary of a run has no {measure.name}{hint}")

    def _advance(self) -> None:
        self._cell = None
        self._bar.update(self._task, completed=self._done(), text=self._time_left())

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _done(self) -> int:
        return self._skipped + self._finished + self._failed

    def _place(self, ahead: int = 1) -> str:
        return f"[{self._done() + ahead}/{self._total}]"

    def _time_left(self, since: float = 0.0) -> str:
        """By the mean time of the runs so far."""
        ran = self._finished + self._failed
        left = self._total - self._done()
        if not ran or not left:
            return ""
        seconds = max(self._seconds / ran * left - since, 0.0)
        minutes = round(seconds / 60)
        if minutes < 1:
            return "less than a minute left"
        return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"


def _last_step(path: pathlib.Path) -> int | None:
    """The step of the last whole line of a metrics.jsonl."""
    with contextlib.suppress(OSError, ValueError, LookupError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return int(json.loads(file.read().splitlines()[-1])["step"])
    return None
