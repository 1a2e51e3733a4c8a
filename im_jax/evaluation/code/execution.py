"""Programs of models run one by one, each in a process that is confined and limited, and what became of them.

This guards the machine, and other processes on it, against what a model writes by mistake or at random. A
program shares its process with what says how it ended, so one that was written against this very code could
say that it passed. It still could not write, send or start anything.
"""

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from im_jax.child_process import environment, how_it_ended
from im_jax.errors import ConfigError, ProcessError
from im_jax.evaluation.code.confined import BEGINS, Job
from im_jax.evaluation.code.confinement import unavailable

_START_SECONDS: Final = 60.0
"""For Python itself, on a machine with much else to do."""
_MOST_BYTES: Final = 1 << 16
"""Of what a process says; more than a pipe holds is not read."""
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Of the environment; the rest may hold secrets."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: of time, from its first line on.
        memory_bytes: of address space, Python's own included.
    """

    seconds: float = 3.0
    memory_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"a program needs time: {self.seconds} seconds; set more than 0")
        if self.memory_bytes < 1 << 28:
            raise ConfigError(
                f"Python alone needs more memory than {self.memory_bytes} bytes; set 256 MB or more"
            )


@dataclass(frozen=True)
class Outcome:
    """What became of a program.

    Attributes:
        passed: whether it came to its end.
        reason: why not: the kind of exception, `timeout`, or how the process ended. Empty if it passed.
    """

    passed: bool
    reason: str


def check_confinement() -> None:
    """Stop where programs cannot be confined, before any is run.

    Raises:
        ConfigError: with the reason.
    """
    if reason := unavailable():
        raise ConfigError(f"programs of models are not run here: {reason}; score them on another machine")


def execute(
    programs: Iterable[str], limits: Limits | None = None, workers: int | None = None
) -> Iterator[Outcome]:
    """The outcome of each program, in order.

    Args:
        programs: Python.
        limits: of each.
        workers: how many run at once; None: as many as this process has processors.

    Raises:
        ConfigError: this machine cannot confine them.
        ProcessError: a process did not start.
    """
    check_confinement()
    limits = Limits() if limits is None else limits
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda program: _execute(program, limits), programs)


def _execute(program: str, limits: Limits) -> Outcome:
    secret = secrets.token_hex(16)
    job = Job(
        program=program,
        memory_bytes=limits.memory_bytes,
        processor_seconds=int(limits.seconds) + 2,
        secret=secret,
        parent=os.getpid(),
    )
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as answers:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-B", "-m", "im_jax.evaluation.code.confined", str(write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={name: value for name, value in environment().items() if name in _KEPT},
                pass_fds=[write],
                start_new_session=True,
            )
        finally:
            os.close(write)
        try:
            return _watch(process, answers.fileno(), job, limits)
        finally:
            process.kill()
            process.wait()


def _watch(process: "subprocess.Popen[bytes]", answers: int, job: Job, limits: Limits) -> Outcome:
    """Wait for the end of a program, or of its time."""
    assert process.stdin is not None
    try:
        with process.stdin as questions:
            questions.write(json.dumps(job).encode())
    except BrokenPipeError:
        pass  # it has ended; what follows says how
    if _read(answers, len(BEGINS), _START_SECONDS) != BEGINS:
        process.kill()
        raise ProcessError(f"a program of a model could not be begun: {how_it_ended(process.wait())}")
    deadline = time.monotonic() + limits.seconds
    said = _read(answers, _MOST_BYTES, limits.seconds)
    word = said.rpartition(f"\n{job['secret']} ".encode())
    if word[1] and word[2].endswith(b"\n"):
        reason = word[2].decode("utf-8", "replace").strip()
        return Outcome(not reason, reason)
    if len(said) == _MOST_BYTES:
        return Outcome(False, "it wrote where only its end is told")
    try:
        code = process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return Outcome(False, "timeout")
    return Outcome(False, f"{how_it_ended(code)} before its tests did")


def _read(file: int, most: int, seconds: float) -> bytes:
    """What a pipe gives until its end, so many bytes, or the end of the time."""
    said, deadline = b"", time.monotonic() + seconds
    while len(said) < most:
        if not select.select([file], [], [], max(deadline - time.monotonic(), 0))[0]:
            break
        part = os.read(file, most - len(said))
        if not part:
            break
        said += part
    return said
