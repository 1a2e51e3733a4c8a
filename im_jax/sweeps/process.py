"""Workers as a sweep sees them: started when needed, replaced when they die, always ended."""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from im_jax.config import Config, flatten
from im_jax.errors import ConfigError

_PACKAGE_ROOT: Final = pathlib.Path(__file__).resolve().parents[2]
_LOOK_SECONDS: Final = 0.5
"""How often one that waits for a run is asked whether it still wants to."""


class Worker:
    """Runs configurations in another process. What goes wrong there is an answer, never an exception."""

    def __init__(self, environment: Mapping[str, str], cores: Sequence[int] | None = None) -> None:
        """`environment` is put over that of this process; `cores` are all it may use, None: any."""
        self._environment = environment
        self._arguments = [] if cores is None else [",".join(map(str, cores))]
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def run(self, config: Config, directory: pathlib.Path, waiting: Callable[[], None]) -> dict[str, Any]:
        """Run a configuration in a directory, and call `waiting` now and then meanwhile.

        What `waiting` raises ends the wait; the worker is in the middle of a run then, and is to be ended.

        Returns:
            `status`, and with it `summary` or `error`; `machine`, if the worker lived to say.
        """
        log = directory / "log.txt"
        request = {"config": flatten(config), "workdir": str(directory), "log": str(log)}
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start(log)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; the end of its answers says so
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        while True:
            try:
                line = self._answers.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                waiting()
                continue
            if not line:
                return {"status": "failed", "error": self._last_words(log)}
            answer: dict[str, Any] = json.loads(line)
            if not answer["fit"]:
                self.end()
            return answer

    def end(self) -> None:
        """Stop it at once. Its files are made for that: a run resumes from its last whole checkpoint."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self, log: pathlib.Path) -> "subprocess.Popen[str]":
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "im_jax.sweep_worker", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**_environment(), **self._environment},
            )
        self._answers = queue.Queue()
        threading.Thread(target=_pass_on, args=(self._process.stdout, self._answers), daemon=True).start()
        return self._process

    def _last_words(self, log: pathlib.Path) -> str:
        """Why the worker is gone."""
        assert self._process is not None
        code, self._process = self._process.wait(), None
        how = f"the process ended with exit code {code}"
        if code < 0:
            memory = ", as when memory runs out" if code == -9 else ""
            how = f"the process was killed by signal {-code}{memory}"
        return f"{how}; its last words are in {log}"


def _pass_on(lines: Iterable[str], answers: "queue.Queue[str]") -> None:
    """Pass on lines, and an empty one at the end."""
    for line in lines:
        answers.put(line)
    answers.put("")


def _environment() -> dict[str, str]:
    """That of this process, in which this package is found from any directory."""
    path = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def platform() -> str:
    """What a worker would run on: `cpu`, `gpu` or `tpu`.

    Asked in a process of its own: one that has looked at an accelerator holds it until it ends.

    Raises:
        ConfigError: JAX does not start.
    """
    asked = subprocess.run(
        [sys.executable, "-c", "from im_jax import devices; print(devices.platform())"],
        env=_environment(),
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        raise ConfigError(f"JAX does not start: {reason}")
    return asked.stdout.split()[-1]


@contextlib.contextmanager
def start_workers(shares: Sequence[Sequence[int] | None]) -> Iterator[list[Worker]]:
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
            workers.append(Worker(environment, cores))
        try:
            yield workers
        finally:
            for worker in workers:
                worker.end()
