"""WORKDIR/slurm/jobs.jsonl: which runs of a sweep are which jobs, and which of these were collected.

    {"name": "im_jax-1f0c2a9b", "cells": ["HASH", ...]}     before they are submitted
    {"name": "im_jax-1f0c2a9b", "jobs": ["123_0", ...]}     once they are, in the same order
    {"collected": "123_0"}                                  once its result is in results.jsonl

A kill at any time leaves whole lines, so that no run is submitted twice: jobs of which only the first line is
there are found in the queue by their name.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from im_jax.appended import Appended, whole_lines
from im_jax.errors import ConfigError
from im_jax.sweeps.results import read_object, reason_of
from im_jax.text import as_json


class Job(NamedTuple):
    """A job of the queue."""

    name: str
    """That of all jobs that were submitted with it."""
    number: str


class Submitted:
    """The file, added to by one process at a time."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read what is there.

        Raises:
            ConfigError: a line is damaged.
        """
        self._path = path
        self.going: dict[str, Job] = {}
        """Jobs that are not collected yet, by the hashes of their runs."""
        self.begun: dict[str, list[str]] = {}
        """Hashes of runs that may have been submitted, by the name of the jobs."""
        self._read_all()

    def begin(self, name: str, cells: Sequence[str]) -> None:
        """Write that jobs of a name are about to be submitted for some runs."""
        self._add({"name": name, "cells": list(cells)})

    def submitted(self, name: str, jobs: Sequence[str]) -> None:
        """Write which jobs they are, in the order of the runs; none: they were not submitted."""
        self._add({"name": name, "jobs": list(jobs)})

    def collected(self, job: Job) -> None:
        """Write that nobody needs to look at a job any more."""
        self._add({"collected": job.number})

    def shown(self, cell: str) -> str:
        """How a run that may be in the queue is shown in a list; empty: it is not."""
        if cell in self.going:
            return f"job {self.going[cell].number}"
        return "submitted" if any(cell in cells for cells in self.begun.values()) else ""

    def _add(self, line: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with Appended(self._path) as file:
            file.begin()
            file.add(as_json(line), durable=True)
        self._read(line)

    def _read(self, line: dict[str, Any]) -> None:
        if "cells" in line:
            self.begun[line["name"]] = line["cells"]
        elif "jobs" in line:
            cells, jobs = self.begun.pop(line["name"]), [Job(line["name"], job) for job in line["jobs"]]
            self.going |= dict(zip(cells, jobs, strict=bool(jobs)))
        else:
            collected = line["collected"]
            self.going = {cell: job for cell, job in self.going.items() if job.number != collected}

    def _read_all(self) -> None:
        for at, line in enumerate(whole_lines(self._path)[0], start=1):
            try:
                self._read(read_object(line))
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                known = isinstance(error, ValueError | RecursionError)
                reason = reason_of(error) if known else "it lacks what such a line has"
                raise ConfigError(
                    f"{self._path}:{at} is damaged: {reason}; once squeue shows no job of this "
                    "sweep any more, remove the file"
                ) from error
