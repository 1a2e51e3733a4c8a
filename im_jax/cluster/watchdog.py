"""A process that is alive and stuck, as in an exchange that never ends, ends itself and says where it was."""

import contextlib
import faulthandler
import sys
import threading
import time
from collections.abc import Callable

from im_jax.cluster import peers
from im_jax.interruption import leave

_FAILED = 1


class Watchdog(contextlib.AbstractContextManager["Watchdog"]):
    """Expects `tick` every so often while it is entered; a process has one at most."""

    def __init__(
        self, seconds: float, last_words: Callable[[int, str], None] = lambda code, why: None
    ) -> None:
        """Args: seconds after which the process is stuck, 0: never; who is told its exit code and why."""
        self._seconds, self._last_words = seconds, last_words
        self._ticked, self._doing = time.monotonic(), "the first step"
        self._over = threading.Event()

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            _entered.append(self)
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        _entered.clear()

    def tick(self, doing: str) -> None:
        """Something has ended; `doing` is what comes next."""
        self._ticked, self._doing = time.monotonic(), doing

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._seconds / 10)):
            if time.monotonic() - self._ticked > self._seconds:
                self._bite()

    def _bite(self) -> None:
        why = f"{self._doing} has not ended after {self._seconds:g} s (mesh.stuck_after)"
        with contextlib.suppress(Exception):  # standard error may be no file
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
        self._last_words(_FAILED, why)
        if (others := peers.current()) is not None:
            others.goodbye(_FAILED, why)
        leave(f"stuck: {why}; the stacks above say where", _FAILED)


_entered: list[Watchdog] = []


def tick(doing: str) -> None:
    """Tell the watchdog, if there is one, that something has ended; `doing` is what comes next."""
    for watchdog in _entered:
        watchdog.tick(doing)
