"""The worker as a sweep sees it: started when needed, replaced when it dies, always ended."""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from im_jax.config import Config, flatten

_PACKAGE_ROOT: Final = pathlib.Path(__file__).resolve().parents[2]
_LOOK_SECONDS: Final = 0.5
"""How often a waiting sweep looks at how far the run is."""


class Worker:
    """Runs configurations in another process. What goes wrong there is an answer, never an exception."""

    def __init__(self, environment: dict[str, str]) -> None:
        """`environment` is put over that of this process."""
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def run(self, config: Config, directory: pathlib.Path, waiting: Callable[[], None]) -> dict[str, Any]:
        """Run a configuration in a directory, and call `waiting` now and then meanwhile.

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
        path = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "im_jax.sweep_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **self._environment, "PYTHONPATH": path},
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


@contextlib.contextmanager
def start_worker() -> Iterator[Worker]:
    """A worker that keeps what it compiles for the runs that follow, ended with the context.

    The cache lives as long as the sweep: compiled programs for one processor may not run on another.
    """
    with tempfile.TemporaryDirectory(prefix="im_jax-compiled-", ignore_cleanup_errors=True) as cache:
        environment = {
            "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        worker = Worker(environment)
        try:
            yield worker
        finally:
            worker.end()
