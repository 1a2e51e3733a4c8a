"""Running the cells of a sweep: what is done is skipped, what stopped goes on, a failure stops no other."""

import contextlib
import fcntl
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from im_jax.config import Config
from im_jax.errors import ConfigError
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import KeepCheckpoints
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import Result, ResultsFile, Status, flat_summary

RunConfig = Callable[[Config, pathlib.Path, Callable[[], None]], dict[str, Any]]
"""Runs a configuration in a directory: see `im_jax.sweeps.process.Worker.run`."""


def unfinished(cells: Sequence[Cell], results: ResultsFile) -> list[Cell]:
    """Cells that are still to be run: new ones and failed ones."""
    done = (Status.FINISHED,)
    return [c for c in cells if (row := results.get(c.hash)) is None or row.status not in done]


def recover(cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path) -> list[Cell]:
    """Add rows of runs that had finished when the sweep was killed before it wrote them down."""
    found = []
    for cell in unfinished(cells, results):
        path = cell.directory(workdir) / "summary.json"
        with contextlib.suppress(
            OSError, ValueError
        ):  # none, or cut off: the run goes on from its checkpoint
            summary = json.loads(path.read_text(encoding="utf-8"))
            results.put(_result(cell, {"status": "finished", "summary": summary}, summary["seconds"]))
            found.append(cell)
    return found


def run_cells(
    cells: Sequence[Cell],
    results: ResultsFile,
    workdir: pathlib.Path,
    run: RunConfig,
    progress: Progress,
    keep: KeepCheckpoints,
) -> None:
    """Run cells one after another, and write each one's row when it ends."""
    for cell in cells:
        directory = cell.directory(workdir)
        directory.mkdir(parents=True, exist_ok=True)
        progress.start(cell, directory)
        began = time.perf_counter()
        answer = run(cell.config, directory, progress.look)
        result = _result(cell, answer, time.perf_counter() - began)
        results.put(result)
        if result.status is Status.FINISHED and keep is KeepCheckpoints.NONE:
            shutil.rmtree(directory / "checkpoints", ignore_errors=True)
        progress.end(cell, result)


def _result(cell: Cell, answer: dict[str, Any], seconds: float) -> Result:
    return Result(
        labels=cell.labels,
        seed=cell.seed,
        hash=cell.hash,
        status=Status(answer["status"]),
        seconds=round(seconds, 1),
        error=answer.get("error", ""),
        machine=answer.get("machine", {}),
        summary=flat_summary(answer.get("summary", {})),
    )


@contextlib.contextmanager
def alone(workdir: pathlib.Path) -> Iterator[None]:
    """Hold the directory: a second sweep there would run the same cells and overwrite rows.

    Raises:
        ConfigError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system, however this ends
        except OSError as error:
            raise ConfigError(
                f"--workdir={workdir}: a sweep is running there; wait for it, or choose another directory"
            ) from error
        yield
