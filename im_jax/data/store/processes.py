"""Chunks encoded by several processes, their results in order and few of them at a time."""

import collections
import concurrent.futures
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

from im_jax import child_process
from im_jax.data.store.chunk import AnyChunk, EncodedChunk, Job
from im_jax.data.store.frames import receive, send
from im_jax.data.store.worker import Failed
from im_jax.errors import DataError, ProcessError

_COMMAND: Final = (sys.executable, "-P", "-m", "im_jax.data.store.worker")
_ONE_THREAD: Final = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
} | {"TOKENIZERS_PARALLELISM": "false"}
"""A worker is one of as many as there are cores."""
_AHEAD: Final = 2
"""Chunks for each worker that are read or encoded before the first of them is taken."""


def encoded_by_processes(job: Job, chunks: Iterable[AnyChunk], count: int) -> Iterator[EncodedChunk]:
    """Encode chunks in `count` processes, which are started as they are needed and ended with the iterator.

    Raises:
        DataError: of the first bad record in order; or what `chunks` raises, after the chunks before it.
        ProcessError: a process was killed.
    """
    with contextlib.closing(_Pool(job, count)) as pool:
        pending: collections.deque[concurrent.futures.Future[EncodedChunk]] = collections.deque()
        coming, error = iter(chunks), None
        more = True
        while more or pending:
            while more and len(pending) < _AHEAD * count:
                try:
                    pending.append(pool.submit(next(coming)))
                except StopIteration:
                    more = False
                except DataError as wrong:  # of a file: records before it come first
                    more, error = False, wrong
            if pending:
                yield pending.popleft().result()
        if error is not None:
            raise error


class _Pool:
    """Threads that each hold a process, and hand a chunk to it at a time."""

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._threads = concurrent.futures.ThreadPoolExecutor(count, "encoding")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._closed = False

    def submit(self, chunk: AnyChunk) -> "concurrent.futures.Future[EncodedChunk]":
        return self._threads.submit(self._encode, chunk)

    def _encode(self, chunk: AnyChunk) -> EncodedChunk:
        if not hasattr(self._own, "worker"):
            with self._lock:
                if self._closed:
                    raise concurrent.futures.CancelledError
                self._own.worker = _Worker(self._job)
                self._workers.append(self._own.worker)
        found: EncodedChunk = self._own.worker.ask(chunk)
        return found

    def close(self) -> None:
        """End all processes at once, whatever they do."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()


class _Worker:
    """A process as the one that asks sees it."""

    def __init__(self, job: Job) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=_environment()
        )
        self._first: Job | None = job

    def ask(self, chunk: AnyChunk) -> EncodedChunk:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            if self._first is not None:
                send(self._first, self._process.stdin)
                self._first = None
            send(chunk, self._process.stdin)
            answer: Any = receive(self._process.stdout)
        except (OSError, EOFError):
            ended = child_process.how_it_ended(self._process.wait())
            words = ": ".join([f"encoding failed, since {ended}", *self._last_words()])
            raise ProcessError(f"{words}; set --config.data.encoders=1 to encode in one process") from None
        if isinstance(answer, Failed):
            raise RuntimeError(f"a process that encodes examples failed:\n{answer}")
        if isinstance(answer, Exception):
            raise answer
        found: EncodedChunk = answer
        return found

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what it did not read any more
                if pipe is not None:
                    pipe.close()
        self._errors.close()

    def _last_words(self) -> list[str]:
        """The last line that it printed, if there is one."""
        self._errors.seek(0)
        return self._errors.read().strip().splitlines()[-1:]


def _environment() -> dict[str, str]:
    """That of this process, but for settings of memory that are made for training."""
    inherited = {
        name: value
        for name, value in child_process.environment().items()
        if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")
    }
    return inherited | _ONE_THREAD


def usual_count() -> int:
    """As many processes as this one may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
