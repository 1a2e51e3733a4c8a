"""A worker process as the orchestrator sees it: started, asked, and always ended."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

_PACKAGE_ROOT: Final = pathlib.Path(__file__).resolve().parents[2]
_ENVIRONMENT: Final = {
    # Threads that wait for work must sleep, not turn: the next contestant needs the cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    # Workers share a GPU.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


_QUIT_SECONDS: Final = 10


class Process:
    """One worker. What goes wrong with it is an answer, never an exception."""

    def __init__(self, python: str, environment: Mapping[str, str], limit: float) -> None:
        """Args: interpreter, further environment variables, and seconds that an answer may take."""
        self._limit = limit
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        path = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [python, "-m", "im_jax.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**_inherited(), **_ENVIRONMENT, **environment, "PYTHONPATH": path},
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request, with its `status`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._limit, stop)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if late.is_set():
            return {"status": "failed", "reason": f"took longer than {self._limit:g} seconds"}
        return {"status": "failed", "reason": self._last_words()}

    def _last_words(self) -> str:
        code = self._process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def end(self) -> None:
        """Ask it to quit, and see that it does."""
        try:
            self._process.communicate('{"command": "quit"}\n', timeout=_QUIT_SECONDS)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            self._process.kill()
            self._process.communicate()
        self._errors.close()


def _inherited() -> dict[str, str]:
    """The environment without settings of memory: only a contestant's condition decides those."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")
    }


@contextlib.contextmanager
def start(python: str | None, environment: Mapping[str, str], limit: float) -> Iterator[Process]:
    """A worker of an interpreter (None: this one), ended with the context."""
    process = Process(python or sys.executable, environment, limit)
    try:
        yield process
    finally:
        process.end()
