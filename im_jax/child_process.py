"""A process that is asked: a request is a line of JSON on its standard input, an answer one on its output.

`Child` asks, `serve` answers. A child never outlives the process that asks: it stops when its standard input
ends, in the middle of work too, and the system ends that with the other process, however that goes.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Never

from im_jax.console import print_json

Request = Mapping[str, Any]
Answer = dict[str, Any]

_PACKAGE_ROOT: Final = pathlib.Path(__file__).resolve().parents[1]
_LOOK_SECONDS: Final = 0.5
"""How often one that waits for an answer is asked whether it still wants to."""
_NO_MORE: Final = ""
"""Behind the last line of a child."""


class ChildError(Exception):
    """A child gave no answer. The message says what became of it."""


class Child:
    """The process as the one that asks sees it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], errors: Any) -> None:
        """Start it.

        Args:
            command: program and arguments; what it runs calls `serve`.
            environment: all of its environment.
            errors: an open file for its standard error, and for what it prints otherwise.
        """
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env=dict(environment),
        )
        self._answers: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_pass_on, args=(self._process.stdout, self._answers), daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(
        self, request: Request, *, limit: float | None = None, waiting: Callable[[], None] = lambda: None
    ) -> Answer:
        """The answer to a request.

        Args:
            request: what JSON can hold.
            limit: seconds that the answer may take; None: as long as it needs.
            waiting: called now and then meanwhile. What it raises ends the wait; the child is in the middle
                of work then, and is to be ended.

        Raises:
            ChildError: there is no answer, and the child is ended.
        """
        deadline = None if limit is None else time.monotonic() + limit
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; the end of its answers says so
            if not self._process.stdin.closed:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
        while True:
            left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                self.end()
                raise ChildError(f"took longer than {limit:g} seconds")
            try:
                line = self._answers.get(timeout=min(left, _LOOK_SECONDS))
            except queue.Empty:
                waiting()
                continue
            if line == _NO_MORE:
                self._answers.put(_NO_MORE)  # for whoever asks again
                raise ChildError(how_it_ended(self._process.wait()))
            try:
                answer: Answer = json.loads(line)
            except ValueError:  # a line that was cut off when it was killed
                self.end()
                raise ChildError(f"the process answered {line[:40]!r}, which is no JSON") from None
            return answer

    def end(self, patience: float = 0.0) -> None:
        """Let no more be asked, and after so many seconds stop it whatever it does."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # what it did not read any more
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if patience:
                self._process.wait(patience)
        self._process.kill()
        self._process.wait()


def how_it_ended(code: int) -> str:
    """What the exit code of a process says."""
    if code >= 0:
        return f"the process ended with exit code {code}"
    memory = ", as when memory runs out" if -code == signal.SIGKILL else ""
    return f"the process was killed by signal {-code}{memory}"


def environment() -> dict[str, str]:
    """That of this process, in which this package is found from any directory."""
    path = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def serve(answer: Callable[[Answer], Answer]) -> Never:
    """Inside the child: answer requests until there are no more, then stop at once.

    What anything prints on standard output meanwhile, libraries in C included, goes to standard error. Ctrl-C
    reaches both processes; the one that asks decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    questions = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    # A process that is forked closes its `sys.stdin`, and waits for ever where another thread reads from it.
    sys.stdin = open(os.devnull)  # noqa: SIM115 - as long as the process
    requests: queue.Queue[Answer] = queue.Queue()
    threading.Thread(target=_listen, args=(questions, requests), daemon=True).start()
    while True:
        print_json(answer(requests.get()), answers)


def _listen(questions: Iterable[str], requests: "queue.Queue[Answer]") -> None:
    for line in questions:
        requests.put(json.loads(line))
    os._exit(0)  # threads of libraries would wait for work


def _pass_on(lines: Iterable[str], answers: "queue.Queue[str]") -> None:
    try:
        for line in lines:
            answers.put(line)
    finally:  # whatever happens, nobody waits for more
        answers.put(_NO_MORE)
