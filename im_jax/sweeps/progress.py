"""What a user sees of a sweep while it goes on: a line for each run that ends, and bars for the others."""

import contextlib
import difflib
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.progress import Progress as Bars
from rich.progress import TaskID

from im_jax.console import Console, Words, bar_column, count_column
from im_jax.sweeps.aggregation import measured
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import Measure
from im_jax.sweeps.evaluated import errors, with_figures
from im_jax.sweeps.evaluations import NO_EVALUATIONS, Evaluations
from im_jax.sweeps.results import Result, Status

_TAIL: Final = 4096
"""Bytes at the end of metrics.jsonl that are sure to hold its last line."""


class _Going(NamedTuple):
    """A run that is going on."""

    directory: pathlib.Path
    began: float
    bar: TaskID


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Progress over a whole grid."""

    def __init__(
        self,
        console: Console,
        total: int,
        skipped: int,
        measures: Sequence[Measure],
        others: Sequence[Measure] = (),
        workers: int = 1,
        evaluations: Evaluations = NO_EVALUATIONS,
    ) -> None:
        """Of `measures` each run's are shown; `others` should be in its summary too.

        `workers` is the number of runs that go on at a time.
        """
        self._console, self._total, self._skipped, self._workers = console, total, skipped, workers
        self._measures, self._others, self._evaluations = measures, others, evaluations
        self._finished = self._failed = 0
        self._seconds = 0.0
        self._going: dict[str, _Going] = {}
        self._bars = Bars(
            Words(field="kind"),
            bar_column(console),
            count_column(),
            Words(field="text"),
            console=console,
            disable=not console.is_terminal,
        )
        self._grid = self._bars.add_task("", total=total, completed=skipped, kind="sweep", text="")

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, cell: Cell, directory: pathlib.Path) -> None:
        """Take note of a run that begins."""
        bar = self._bars.add_task("", total=cell.config.train.steps or None, kind="step", text=cell.name)
        self._going[cell.hash] = _Going(directory, time.perf_counter(), bar)
        if self._bars.disable and not self._finished + self._failed:
            self._print(f"{self._place(len(self._going))}: {cell.name} begins")
        self.look()

    def look(self) -> None:
        """Show how far the runs are."""
        if self._bars.disable:
            return
        for going in self._going.values():
            self._bars.update(going.bar, completed=_last_step(going.directory / "metrics.jsonl"))
        failed = [f"{self._failed} failed"] if self._failed else []
        text = "  ".join(filter(None, [*failed, self._time_left()]))
        self._bars.update(self._grid, completed=self._done(), text=text)

    def leave_out(self, cell: Cell, reason: str) -> None:
        """Show that a run is not needed any more."""
        self._total -= 1
        self._bars.update(self._grid, total=self._total)
        self._print(f"left out: {cell.name}: {reason}")

    def end(self, cell: Cell, result: Result) -> None:
        """Show a run that has ended."""
        result = with_figures(result, self._evaluations)
        self._bars.remove_task(self._going.pop(cell.hash).bar)
        self._seconds += result.seconds
        self._finished += result.status is Status.FINISHED
        self._failed += result.status is Status.FAILED
        line = f"{self._place()}: {cell.name}  {result.status.value} in {result.seconds:.0f} s"
        if result.status is Status.FAILED:
            self._print(f"{line}: {result.error}")
            return self.look()
        failed = errors(result, self._evaluations)
        for name, reason in failed.items():
            self._print(f"evaluation {name} of {cell.name} failed: {reason}")
        if self._finished == 1 and not failed:
            self._name_missing(result)
        numbers = [
            f"{measure.title or measure.name} {value:.4g}"
            for measure in self._measures
            if (value := measured(result, measure)) is not None
        ]
        self._print("  ".join([line, *numbers, self._time_left() if self._bars.disable else ""]).rstrip())
        return self.look()

    def _name_missing(self, result: Result) -> None:
        """Say early what the report will not have."""
        for measure in [*self._measures, *self._others]:
            if measure.name not in result.summary:
                near = difflib.get_close_matches(measure.name, list(result.summary), n=3)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                self._print(f"the summary of a run has no {measure.name}{hint}")

    def _print(self, text: str) -> None:
        self._console.print(text)

    def _done(self) -> int:
        return self._skipped + self._finished + self._failed

    def _place(self, ahead: int = 0) -> str:
        return f"[{self._done() + ahead}/{self._total}]"

    def _time_left(self) -> str:
        """By the mean time of the runs so far, of which the workers share what is left."""
        ran = self._finished + self._failed
        left = self._total - self._done()
        if not ran or not left:
            return ""
        mean, now = self._seconds / ran, time.perf_counter()
        waiting = mean * (left - len(self._going))
        going = sum(max(mean - (now - run.began), 0.0) for run in self._going.values())
        seconds = (waiting + going) / min(self._workers, left)
        minutes = round(seconds / 60)
        if minutes < 1:
            return "less than a minute left"
        return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"


def _last_step(path: pathlib.Path) -> int:
    """The step of the last whole line of a metrics.jsonl; 0 while there is none."""
    with contextlib.suppress(OSError, ValueError, LookupError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return int(json.loads(file.read().splitlines()[-1])["step"])
    return 0
