"""Writing down what happens to a run (`im_jax.events`): by a process, for one attempt."""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from im_jax.appended import Appended
from im_jax.errors import ConfigError, Interrupted, StorageError, UserError
from im_jax.events import ENDS, Happened, attempt_in, file_of
from im_jax.files import writing
from im_jax.interruption import STOPPED
from im_jax.text import in_one_line

_LONGEST_REASON: Final = 500
_ALIVE_SECONDS: Final = 60.0
"""How long the first process is silent at most: so long is not known of one that is killed."""


class Recorder:
    """Writes events of an attempt. Before `attempt` they are kept; whatever thread adds, lines stay whole."""

    def __init__(self) -> None:
        # A clock that is set while the run goes on changes neither order nor lengths.
        self._clock_offset = time.time() - time.perf_counter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._silent_since = 0.0
        self._file: Appended | None = None
        self._path: pathlib.Path | None = None
        self._is_new = False
        self._early: list[dict[str, Any]] = []
        self._who: dict[str, Any] = {}
        self.add(Happened.START, pid=os.getpid())

    @contextlib.contextmanager
    def attempt(
        self, workdir: pathlib.Path, process: int = 0, agree: Callable[[int], int] = lambda number: number
    ) -> Iterator[None]:
        """From now on, write; at the end, how it ended.

        A mistake of the user's in the first attempt, before there is anything of a run, leaves no file.

        Args:
            workdir: of the run, which is there.
            process: number of this process in it.
            agree: given the number of the attempt by this process's file, returns that of the first process.

        Raises:
            ConfigError: another process writes the same file.
            StorageError: it cannot be written.
        """
        self._open(workdir, process, agree)
        try:
            yield
        except BaseException as error:
            self._end(*_ending(error))
            is_mistake = isinstance(error, UserError) and error.exit_code == ConfigError.exit_code
            if is_mistake and self._is_new and not (workdir / "config.json").exists():
                self._forget()
            raise
        else:
            self._end(Happened.DONE)
        finally:
            self._close()

    def add(self, event: Happened, step: int | None = None, **more: Any) -> None:
        """Write an event, now. `more` is whatever else is to be known of it, for JSON.

        Raises:
            StorageError: it cannot be written.
        """
        with self._lock:
            line = {"time": round(self._clock_offset + time.perf_counter(), 6), "event": event.value}
            line |= ({} if step is None else {"step": step}) | more
            if self._file is None:
                self._early.append(line)
            else:
                self._write(line)

    @contextlib.contextmanager
    def during(self, event: Happened, step: int | None = None, **more: Any) -> Iterator[None]:
        """Write begin and end of something; where it fails, the end of the attempt is its end."""
        self.add(event, step, phase="begin", **more)
        yield
        self.add(event, step, phase="end", **more)

    def left(self, exit_code: int, reason: str) -> None:
        """Write that the process was asked to end, and does without more ado. Never fails."""
        self._end(_asked(exit_code), reason)

    def _open(self, workdir: pathlib.Path, process: int, agree: Callable[[int], int]) -> None:
        self._path = file_of(workdir, process)
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = Appended(self._path)
        except BlockingIOError as error:
            raise ConfigError(
                f"--workdir={workdir}: another process writes {self._path}; wait for it, or choose another "
                "directory"
            ) from error
        file.begin()
        self._is_new = not file.lines
        number = 1 + max((attempt_in(line) for line in file.lines), default=0)
        self._who = {"attempt": agree(number), "process": process, "host": socket.gethostname()}
        with self._lock:
            self._file = file
            for line in self._early:
                self._write(line)
        if not process:
            threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        """Give a sign of life where there is no other, in a thread of its own."""
        wait = _ALIVE_SECONDS
        while not self._closed.wait(wait):
            wait = self._silent_since + _ALIVE_SECONDS - time.perf_counter()
            if wait <= 0:
                wait = _ALIVE_SECONDS
                with contextlib.suppress(StorageError):  # whoever writes next is told
                    self.add(Happened.ALIVE)

    def _end(self, event: Happened, reason: str = "") -> None:
        more: dict[str, Any] = {"reason": in_one_line(reason)[:_LONGEST_REASON]} if reason else {}
        with contextlib.suppress(StorageError):  # what could not be written is told by what ends the run
            self.add(event, **more)

    def _close(self) -> None:
        self._closed.set()
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _forget(self) -> None:
        self._close()
        assert self._path is not None
        with contextlib.suppress(OSError):  # it may be gone, and its directory may hold those of others
            self._path.unlink()
            if self._who["process"]:
                self._path.parent.rmdir()

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        self._silent_since = time.perf_counter()
        text = json.dumps({"time": line["time"]} | self._who | line)
        self._file.add(text, durable=line["event"] in ENDS)  # often the last that a machine does


class _Unrecorded(Recorder):
    def add(self, event: Happened, step: int | None = None, **more: Any) -> None:
        del event, step, more


UNRECORDED: Final = _Unrecorded()
"""For a run of which nothing is written down."""


def _ending(error: BaseException) -> tuple[Happened, str]:
    """How an attempt ended that raised, and why."""
    if isinstance(error, Interrupted):
        return _asked(error.exit_code), str(error)
    if isinstance(error, KeyboardInterrupt):
        return Happened.STOPPED, "Ctrl-C"
    return Happened.FAILED, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _asked(exit_code: int) -> Happened:
    """What an exit code says: a lost peer, or a second signal, came from outside as a preemption does."""
    if exit_code == STOPPED:
        return Happened.STOPPED
    return Happened.FAILED if exit_code in (1, 2) else Happened.PREEMPTED
