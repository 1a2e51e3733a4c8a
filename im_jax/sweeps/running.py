"""Running the cells of a sweep: what is done is skipped, what stopped goes on, a failure stops no other."""

import collections
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

from im_jax.config import Config
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import KeepCheckpoints
from im_jax.sweeps.evaluated import kept, lacking
from im_jax.sweeps.evaluations import NO_EVALUATIONS, Evaluations
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import Result, ResultsFile, Status, flat_summary, read_summary, reason_of

RunConfig = Callable[[Config, pathlib.Path, Callable[[], None]], dict[str, Any]]
"""Runs a configuration in a directory: see `im_jax.sweeps.process.Worker.run`."""

_LOOK_SECONDS: Final = 0.5
"""How often a waiting sweep looks at how far the runs are."""


def unfinished(
    cells: Sequence[Cell], results: ResultsFile, evaluations: Evaluations = NO_EVALUATIONS
) -> list[Cell]:
    """Cells that are still to be run: new ones, failed ones, and those that lack an evaluation."""
    return [
        cell
        for cell in cells
        if (result := results.get(cell.hash)) is None
        or result.status is not Status.FINISHED
        or lacking(result, evaluations)
    ]


def recover(
    cells: Sequence[Cell],
    results: ResultsFile,
    workdir: pathlib.Path,
    tell: Callable[[str], None],
    evaluations: Evaluations = NO_EVALUATIONS,
) -> None:
    """Add results of runs that had finished when the sweep was killed before it wrote them down.

    `tell` is given a line for each, and for each summary that cannot be read.
    """
    for cell in unfinished(cells, results):
        path = cell.directory(workdir) / "summary.json"
        try:
            summary = read_summary(path)
            if summary is not None:
                found = kept(cell.directory(workdir), evaluations)
                answer = {"status": "finished", "summary": summary, "evaluations": found}
                results.put(result_of(cell, answer, summary["seconds"]))
                tell(f"{cell.name} had finished before its result was written")
        except (ValueError, RecursionError) as error:
            tell(f"{path} is damaged, so its run goes on from its last checkpoint: {reason_of(error)}")


def clear_up(
    cells: Sequence[Cell],
    results: ResultsFile,
    workdir: pathlib.Path,
    evaluations: Evaluations = NO_EVALUATIONS,
) -> None:
    """Delete checkpoints of finished runs, which a sweep that was killed may have left."""
    waiting = {cell.hash for cell in unfinished(cells, results, evaluations)}
    for cell in cells:
        if cell.hash not in waiting:
            _delete_checkpoints(cell, workdir)


def run_cells(
    cells: Sequence[Cell],
    results: ResultsFile,
    workdir: pathlib.Path,
    runs: Sequence[RunConfig],
    progress: Progress,
    keep: KeepCheckpoints,
    evaluations: Evaluations = NO_EVALUATIONS,
    reason_to_leave: Callable[[Cell], str] = lambda _: "",
) -> None:
    """Run cells in order, as many at a time as there are `runs`, and write each one's result when it ends.

    `reason_to_leave` says of a cell that is about to begin why it need not any more.

    A thread waits for each run; all else is done by the thread that calls. If that one is interrupted, no run
    is waited for any more, and those that were going on have no result.
    """
    left, idle = collections.deque(cells), list(runs)
    going: dict[Future[Result], tuple[Cell, RunConfig]] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(len(runs)) as threads:
        try:
            while left or going:
                while left and idle:
                    cell = left.popleft()
                    if reason := reason_to_leave(cell):
                        progress.leave_out(cell, reason)
                        continue
                    run = idle.pop(0)
                    directory = cell.directory(workdir)
                    directory.mkdir(parents=True, exist_ok=True)
                    progress.start(cell, directory)
                    going[threads.submit(_attempt, run, cell, directory, stop)] = cell, run
                if not going:
                    break
                ended, _ = wait(going, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in ended:
                    cell, run = going.pop(future)
                    idle.append(run)
                    end(cell, future.result(), results, workdir, keep, evaluations)
                    progress.end(cell, future.result())
                progress.look()
        finally:
            stop.set()


class _StopWaitingError(Exception):
    """The sweep ends before the run does."""


def _attempt(run: RunConfig, cell: Cell, directory: pathlib.Path, stop: threading.Event) -> Result:
    def go_on() -> None:
        if stop.is_set():
            raise _StopWaitingError

    began = time.perf_counter()
    answer = run(cell.config, directory, go_on)
    return result_of(cell, answer, time.perf_counter() - began)


def end(
    cell: Cell,
    result: Result,
    results: ResultsFile,
    workdir: pathlib.Path,
    keep: KeepCheckpoints,
    evaluations: Evaluations = NO_EVALUATIONS,
) -> None:
    """Write what a run that ended gave, and clear up behind it unless an evaluation is to be tried again."""
    results.put(result)
    done = result.status is Status.FINISHED and not lacking(result, evaluations)
    if done and keep is KeepCheckpoints.NONE:
        _delete_checkpoints(cell, workdir)


def _delete_checkpoints(cell: Cell, workdir: pathlib.Path) -> None:
    shutil.rmtree(cell.directory(workdir) / "checkpoints", ignore_errors=True)


def result_of(cell: Cell, answer: Mapping[str, Any], seconds: float) -> Result:
    """What a worker answered, as a line of results.jsonl."""
    return Result(
        labels=cell.labels,
        seed=cell.seed,
        hash=cell.hash,
        status=Status(answer["status"]),
        seconds=round(seconds, 1),
        error=answer.get("error", ""),
        machine=answer.get("machine", {}),
        summary=flat_summary(answer.get("summary", {})),
        evaluations=answer.get("evaluations", {}),
    )
