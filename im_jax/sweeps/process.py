"""Workers as a sweep sees them: started when needed, replaced when they die, always ended."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from im_jax import child_process
from im_jax.child_process import Child, ChildError
from im_jax.config import Config, flatten
from im_jax.errors import ConfigError
from im_jax.sweeps.evaluated import answer_of
from im_jax.sweeps.evaluations import Evaluations, to_request


class Worker:
    """Runs configurations in another process. What goes wrong there is an answer, never an exception."""

    def __init__(
        self,
        environment: Mapping[str, str],
        cores: Sequence[int] | None = None,
        evaluations: Evaluations | None = None,
    ) -> None:
        """`environment` is put over that of this process; `cores` are all it may use, None: any."""
        self._evaluations = evaluations or {}
        self._environment = environment
        self._arguments = [] if cores is None else [",".join(map(str, cores))]
        self._child: Child | None = None

    def run(self, config: Config, directory: pathlib.Path, waiting: Callable[[], None]) -> dict[str, Any]:
        """Run a configuration in a directory, and call `waiting` now and then meanwhile.

        What `waiting` raises ends the wait; the worker is in the middle of a run then, and is to be ended.

        Returns:
            `status`, and with it `summary` or `error`; `machine`, if the worker lived to say; `evaluations`.
        """
        log = directory / "log.txt"
        request = {
            "config": flatten(config),
            "workdir": str(directory),
            "log": str(log),
            "evaluations": to_request(self._evaluations),
        }
        if self._child is None or not self._child.is_alive():
            self._child = self._start(log)
        try:
            answer = self._child.ask(request, waiting=waiting)
        except ChildError as error:
            self.end()
            return answer_of(directory, self._evaluations, f"{error}; its last words are in {log}")
        if not answer["fit"]:
            self.end()
        return answer

    def end(self) -> None:
        """Stop it at once. Its files are made for that: a run resumes from its last whole checkpoint."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _start(self, log: pathlib.Path) -> Child:
        command = [sys.executable, "-m", "im_jax.sweep_worker", *self._arguments]
        with log.open("ab") as errors:
            return Child(command, {**child_process.environment(), **self._environment}, errors)


def platform() -> str:
    """What a worker would run on: `cpu`, `gpu` or `tpu`.

    Asked in a process of its own: one that has looked at an accelerator holds it until it ends.

    Raises:
        ConfigError: JAX does not start.
    """
    asked = subprocess.run(
        [sys.executable, "-c", "from im_jax import devices; print(devices.platform())"],
        env=child_process.environment(),
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        raise ConfigError(f"JAX does not start: {reason}")
    return asked.stdout.split()[-1]


@contextlib.contextmanager
def start_workers(
    shares: Sequence[Sequence[int] | None], evaluations: Evaluations | None = None
) -> Iterator[list[Worker]]:
    """A worker for each share of the cores, ended with the context.

    Each keeps what it compiles for the runs that follow, as long as the sweep lives: what is compiled for one
    processor may not run on another. Workers do not share it, as JAX does not lock its cache, unless the user
    gives a directory.
    """
    with tempfile.TemporaryDirectory(prefix="im_jax-compiled-", ignore_cleanup_errors=True) as caches:
        workers = []
        for at, cores in enumerate(shares):
            cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", f"{caches}/{at}")
            environment = {
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            }
            workers.append(Worker(environment, cores, evaluations))
        try:
            yield workers
        finally:
            for worker in workers:
                worker.end()
