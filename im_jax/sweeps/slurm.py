"""Slurm, by submitit: runs of a sweep as the jobs of an array, how they are, and what they answer.

submitit asks `sacct` how jobs are, which many clusters do not have; here it is `squeue`, by the jobs' name.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from im_jax import child_process
from im_jax.errors import ConfigError, ProcessError
from im_jax.interruption import PREEMPTED
from im_jax.sweeps.job import run_cell
from im_jax.text import in_one_line

LARGEST_ARRAY: Final = 1000
"""Jobs of an array: what Slurm takes where nobody has set its MaxArraySize."""
_MANAGED: Final = (
    *("array", "error", "job-name", "nodes", "ntasks", "ntasks-per-node"),
    *("open-mode", "output", "requeue", "signal"),
)
"""What sbatch is told in any case: a run is one process, whose jobs, files and signals are known here."""
_ENDED: Final = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "REVOKED", "TIMEOUT"),
)

# What the batch script does with a run's exit code: 42 has saved, and 143 is SIGTERM before anybody listened.
# A job that is cancelled, or that Slurm itself puts back into the queue, is not RUNNING any more.
_REQUEUE: Final = """\
code=$?
job="$SLURM_JOB_ID"
[ -z "${{SLURM_ARRAY_JOB_ID:-}}" ] || job="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
if {{ [ "$code" = {preempted} ] || [ "$code" = 143 ]; }} && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most} ] &&
  [[ "$(squeue --noheader --jobs="$job" --format=%T)" == RUNNING* ]]; then
  echo "=== stopped before its end: into the queue again"
  scontrol requeue "$job" && sleep 60 # Slurm ends this script now
fi
exit "$code\""""


@dataclass(frozen=True)
class State:
    """How a job is, as `squeue` says."""

    name: str
    """`PENDING`, `RUNNING`, `TIMEOUT`, ..."""
    reason: str = ""
    """Why it waits: `Resources`, `QOSMaxJobsPerUserLimit`, ..."""

    @property
    def has_ended(self) -> bool:
        """Whether it will not run again. One that was preempted may; if not, the queue forgets it."""
        return self.name in _ENDED


class Queue(Protocol):
    """Who runs the jobs."""

    def submit(self, name: str, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        """Submit a job for each request, all of one name; gives their numbers.

        Raises:
            ConfigError: they are refused.
        """
        ...

    def states(self, names: Collection[str]) -> Mapping[str, State]:
        """How the jobs of some names are; it knows none that ended minutes ago.

        Raises:
            ProcessError: nobody answers.
        """
        ...

    def answers(self, jobs: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """What those of some jobs answered that have ended: see `im_jax.sweeps.job`."""
        ...

    def log(self, job: str) -> pathlib.Path:
        """What a job printed before and after its run."""
        ...


@dataclass(frozen=True)
class Options:
    """What the jobs need."""

    sbatch: Mapping[str, str | bool] = field(default_factory=dict)
    """Options of sbatch by name, without the hyphens: `{"partition": "gpu", "exclusive": True}`."""
    parallel: int = LARGEST_ARRAY
    """How many jobs of an array may run at a time."""
    save_seconds: int = 300
    max_requeues: int = 100

    def __post_init__(self) -> None:
        for name, least in (("parallel", 1), ("save_seconds", 1), ("max_requeues", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name}={getattr(self, name)}: give {least} or more")
        for name in self.sbatch:
            if name in _MANAGED:
                raise ConfigError(f"--sbatch={name}: the sweep sets {name} itself; leave it out")

    def words(self, count: int) -> list[str]:
        """The options of sbatch for so many jobs, as on its command line."""
        every = self._every()
        if count > 1:
            every["array"] = f"0-{count - 1}%{min(count, self.parallel)}"
        return [f"--{key}" if value is True else f"--{key}={value}" for key, value in every.items()]

    def parameters(self, name: str) -> dict[str, Any]:
        """The same for submitit, which has a time limit of five minutes where it is told none."""
        cpus = self.sbatch.get("cpus-per-task")
        return {
            "job_name": name,
            "time": None,
            "wckey": None,
            "stderr_to_stdout": True,
            "array_parallelism": self.parallel,
            "additional_parameters": self._every(),
            # srun does not take it from sbatch any more since Slurm 22.05
            "srun_args": [] if cpus is None else [f"--cpus-per-task={cpus}"],
            "setup": [f"export PYTHONPATH={shlex.quote(child_process.environment()['PYTHONPATH'])}"],
            "teardown": [_REQUEUE.format(preempted=PREEMPTED, most=self.max_requeues)],
        }

    def _every(self) -> dict[str, str | bool]:
        return {**self.sbatch, "signal": f"TERM@{self.save_seconds}", "requeue": True}


class Submitit:
    """Jobs by one of submitit's executors, whose files are in a directory."""

    def __init__(self, executor: Any, directory: pathlib.Path) -> None:
        self._executor, self._directory = executor, directory

    def submit(self, name: str, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `Queue`."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._executor.update_parameters(**self._parameters(name))
        try:
            jobs = self._executor.map_array(run_cell, requests)
        except (FailedJobError, FailedSubmissionError) as error:
            raise ConfigError(f"sbatch refuses: {in_one_line(error)}") from error
        return [job.job_id for job in jobs]

    def answers(self, jobs: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """See `Queue`."""
        # Listed anew, also where a file system remembers that a file was not there.
        there = set(os.listdir(self._directory)) if self._directory.exists() else set()
        return {job: self._answer(job) for job in jobs if self._paths(job).result_pickle.name in there}

    def log(self, job: str) -> pathlib.Path:
        """See `Queue`."""
        return pathlib.Path(self._paths(job).stdout)

    def _answer(self, job: str) -> Mapping[str, Any]:
        found = self._executor.job_class(folder=self._directory, job_id=job)
        error = found.exception()
        if error is None:
            return dict(found.result())
        # Before or after the run, as where Python finds no package on a node: what a run raises is an answer.
        reason = f"{_last_words(str(error))}; what the job printed is in {self.log(job)}"
        return {"status": "failed", "error": reason, "seconds": 0.0}

    def _paths(self, job: str) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self._directory, job)

    def _parameters(self, name: str) -> dict[str, Any]:
        return {"name": name}


class Slurm(Submitit):
    """The cluster of this machine."""

    def __init__(self, options: Options, directory: pathlib.Path) -> None:
        """Raises ConfigError where there is no Slurm, no submitit, or a directory that sbatch cannot name."""
        check_installed()
        if "%" in str(directory.absolute()):
            raise ConfigError(f"{directory}: sbatch fills in what follows a %; choose another --workdir")
        import submitit

        super().__init__(submitit.SlurmExecutor(directory), directory)
        self._options = options

    def states(self, names: Collection[str]) -> Mapping[str, State]:
        """See `Queue`."""
        what = ["--noheader", "--array", "--states=all", f"--name={','.join(names)}", "--format=%i|%T|%r"]
        asked = subprocess.run(["squeue", *what], capture_output=True, text=True, check=False)
        if asked.returncode:
            raise ProcessError(f"squeue does not answer: {in_one_line(asked.stderr or asked.returncode)}")
        lines = (line.split("|", 2) for line in asked.stdout.splitlines())
        return {job.strip(): State(state, reason) for job, state, reason in lines}

    def _parameters(self, name: str) -> dict[str, Any]:
        return self._options.parameters(name)


def check_installed() -> None:
    """Stop where jobs could not be submitted.

    Raises:
        ConfigError: programs of Slurm are missing, or submitit.
    """
    for program in ("sbatch", "squeue", "srun"):
        if shutil.which(program) is None:
            raise ConfigError(
                f"--executor=slurm: {program} is not installed; use a machine of a Slurm cluster"
            )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--executor=slurm needs submitit: pip install -c constraints.txt -e '.[slurm]'"
        ) from error


def _last_words(error: str) -> str:
    """The last line of the traceback in an error of submitit's."""
    trace = re.search(r"^-{20,}\n(.*?)\n-{20,}$", error, re.DOTALL | re.MULTILINE)
    return in_one_line((trace[1] if trace else error).strip().splitlines()[-1])
