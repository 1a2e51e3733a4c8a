"""A worker process as the orchestrator sees it: started, asked, and always ended."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

from im_jax import child_process
from im_jax.child_process import Child, ChildError

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
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by `end`
        self._child = Child(
            [python, "-m", "im_jax.bench.worker"],
            {**_without_memory_settings(child_process.environment()), **_ENVIRONMENT, **environment},
            self._errors,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request, with its `status`."""
        try:
            return self._child.ask(request, limit=self._limit)
        except ChildError as error:
            return {"status": "failed", "reason": ": ".join([str(error), *self._last_words()])}

    def _last_words(self) -> list[str]:
        """The last line that it printed, if there is one."""
        self._errors.seek(0)
        return self._errors.read().strip().splitlines()[-1:]

    def end(self) -> None:
        """See that it quits, and forget what it printed."""
        self._child.end(_QUIT_SECONDS)
        self._errors.close()


def _without_memory_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Only a contestant's condition decides those of the C library."""
    return {
        name: value
        for name, value in environment.items()
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
