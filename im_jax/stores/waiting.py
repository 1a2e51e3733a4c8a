"""Stores that do not answer: their libraries ask again and again, and say nothing."""

import contextlib
import pathlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

from im_jax.console import print_text

_SILENT_SECONDS: Final = 8.0
_TOLD_AGAIN_SECONDS: Final = 60.0


@contextlib.contextmanager
def patiently(path: pathlib.PurePath) -> Iterator[None]:
    """Tell on standard error that a store has not answered for long: its library tries again, silently.

    Without a network that is about a minute for Google Cloud Storage. Told once a minute at most.
    """
    timer = threading.Timer(_SILENT_SECONDS, _waiting.tell, [path])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Waiting:
    """What was told, and when."""

    def __init__(self) -> None:
        self._lock, self._told = threading.Lock(), -_TOLD_AGAIN_SECONDS

    def tell(self, path: pathlib.PurePath) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told < _TOLD_AGAIN_SECONDS:
                return
            self._told = now
        print_text(
            f"{path}: no answer for {_SILENT_SECONDS:g} s; it is asked again for a minute or so (is the "
            "network there, and are these the right credentials?)",
            sys.stderr,
        )


_waiting: Final = _Waiting()
