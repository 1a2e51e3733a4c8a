"""A sweep whose runs are jobs of a queue: each is submitted once, and its result collected, now or later."""

import math
import pathlib
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from im_jax.config import flatten
from im_jax.errors import ProcessError
from im_jax.files import writing
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import KeepCheckpoints
from im_jax.sweeps.evaluated import answer_of
from im_jax.sweeps.evaluations import NO_EVALUATIONS, Evaluations, to_request
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.running import end, result_of
from im_jax.sweeps.slurm import LARGEST_ARRAY, Queue, State
from im_jax.sweeps.submitted import Job, Submitted
from im_jax.text import counted

Tell = Callable[[str], None]

_LOOK_SECONDS: Final = 1.0
"""How often answers of jobs are looked for."""
_ASK_SECONDS: Final = 20.0
"""How often the queue is asked, which serves all users of a cluster."""
_PATIENCE_SECONDS: Final = 30.0
"""How long after its end a job's answer may take to be seen here: file systems of clusters are slow."""
_USUAL: Final = ("", "None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning")
"""Reasons to wait that pass by themselves."""


def find_lost(submitted: Submitted, queue: Queue) -> None:
    """Note the jobs that were submitted by a command that was killed before it could write their numbers.

    Raises:
        ProcessError: the queue does not answer, so nobody knows whether there are any.
    """
    for name, cells in list(submitted.begun.items()):
        first = next(iter(queue.states([name])), "").partition("_")[0]
        jobs = [f"{first}_{at}" for at in range(len(cells))] if cells[1:] else [first]
        submitted.submitted(name, jobs if first else [])


def submit(
    cells: Sequence[Cell],
    workdir: pathlib.Path,
    submitted: Submitted,
    queue: Queue,
    tell: Tell,
    evaluations: Evaluations = NO_EVALUATIONS,
) -> None:
    """Submit a job for each cell, in arrays.

    Raises:
        ConfigError: they are refused.
    """
    for at in range(0, len(cells), LARGEST_ARRAY):
        part = cells[at : at + LARGEST_ARRAY]
        name = f"im_jax-{uuid.uuid4().hex[:8]}"
        requests = [_request(cell, workdir, evaluations) for cell in part]
        submitted.begin(name, [cell.hash for cell in part])
        jobs = queue.submit(name, requests)
        submitted.submitted(name, jobs)
        numbers = f"job {jobs[0]}" if len(jobs) == 1 else f"jobs {jobs[0]} to {jobs[-1]}"
        tell(f"{counted(len(jobs), 'run')} submitted as {name}: {numbers}")


def collect(
    cells: Sequence[Cell],
    results: ResultsFile,
    workdir: pathlib.Path,
    submitted: Submitted,
    queue: Queue,
    progress: Progress,
    keep: KeepCheckpoints,
    tell: Tell,
    evaluations: Evaluations = NO_EVALUATIONS,
) -> None:
    """Wait for the jobs of some cells, and write each one's result when it has ended."""
    by_hash = {cell.hash: cell for cell in cells}
    watch, shown = _Watch(queue, tell, evaluations), set[str]()
    while going := {job: by_hash[key] for key, job in submitted.going.items() if key in by_hash}:
        answers = queue.answers([job.number for job in going])
        watch.look(going)
        for job, cell in going.items():
            directory = cell.directory(workdir)
            answer = answers.get(job.number) or watch.given_up(job, directory)
            if cell.hash not in shown and (answer or watch.runs(job)):
                shown.add(cell.hash)
                progress.start(cell, directory)
            if answer:
                result = result_of(cell, answer, answer["seconds"])
                end(cell, result, results, workdir, keep, evaluations)
                submitted.collected(job)
                progress.end(cell, result)
        progress.look()
        if len(answers) < len(going):
            time.sleep(_LOOK_SECONDS)


def _request(cell: Cell, workdir: pathlib.Path, evaluations: Evaluations) -> dict[str, Any]:
    directory = cell.directory(workdir).absolute()
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return {
        "config": flatten(cell.config),
        "workdir": str(directory),
        "log": str(directory / "log.txt"),
        "evaluations": to_request(evaluations),
    }


class _Watch:
    """How jobs are, as the queue said when it was last asked."""

    def __init__(self, queue: Queue, tell: Tell, evaluations: Evaluations) -> None:
        self._queue, self._tell, self._evaluations = queue, tell, evaluations
        self._states: Mapping[str, State] = {}
        self._asked = -math.inf
        self._gone: dict[Job, float] = {}
        self._told = set[str]()

    def look(self, jobs: Collection[Job]) -> None:
        """Ask how some jobs are, if the last time is long ago."""
        now = time.monotonic()
        if now - self._asked < _ASK_SECONDS:
            return
        self._asked = now
        try:
            self._states = self._queue.states({job.name for job in jobs})
        except ProcessError as error:
            return self._tell_once(f"{error.message}; waiting until it does")
        for job in jobs:
            state = self._states.get(job.number)
            if state is None or state.has_ended:
                self._gone.setdefault(job, now)
            else:
                self._gone.pop(job, None)
            if state is not None and state.name == "PENDING" and state.reason not in _USUAL:
                self._tell_once(f"jobs wait, {job.number} among them: {state.reason}", key=state.reason)

    def runs(self, job: Job) -> bool:
        """Whether it has begun and not ended."""
        state = self._states.get(job.number)
        return state is not None and state.name == "RUNNING"

    def given_up(self, job: Job, directory: pathlib.Path) -> Mapping[str, Any] | None:
        """The answer in place of a job that ended without one; None where it may still come."""
        if time.monotonic() - self._gone.get(job, math.inf) < _PATIENCE_SECONDS:
            return None
        state = self._states.get(job.number)
        how = "is not in the queue any more" if state is None else f"ended as {state.name}"
        log = self._queue.log(job.number)
        reason = f"job {job.number} {how} and gave no result; what its batch script printed is in {log}"
        answer = answer_of(directory, self._evaluations, reason)
        return answer | {"seconds": answer.get("summary", {}).get("seconds", 0.0)}

    def _tell_once(self, text: str, key: str = "") -> None:
        if (key or text) not in self._told:
            self._told.add(key or text)
            self._tell(text)
