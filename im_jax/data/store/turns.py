"""One process of all encodes a set, on whatever host; the others see that it is at work, or take over.

A lock is a file `KEY.lock.1` that only one process can have made. Whoever holds it counts in it every few
seconds; where the count stands still, or the process is gone from this host, another makes `KEY.lock.2`, and
so on: only one can. Nothing is asked of the file system but to make a file once, and no clocks are compared.

A process that was stopped for so long that another took over does no harm when it goes on: a set appears as a
whole, by a rename, whoever made it.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from im_jax.errors import DataError

BEAT_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0
_WIDTH: Final = 4096
"""Characters of a lock file, so that each writing replaces all of the one before."""
_BOOT: Final = pathlib.Path("/proc/sys/kernel/random/boot_id")


class Held:
    """The lock, held until it is left: `done` says that nobody needs it any more."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._told: dict[str, Any] = {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid()}
        self._count = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def begin(self) -> "Held":
        """Say who holds it."""
        self._write("working")
        return self

    def __enter__(self) -> "Held":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if kind is not None:
            # Told to those who wait: what is wrong with the data they would only meet again.
            with contextlib.suppress(OSError):
                self._write("left", str(error) if isinstance(error, DataError) else "")

    def done(self) -> None:
        """What was to be made is there."""
        stem, _, _ = self._path.name.rpartition(".")
        self._stopped.set()
        self._thread.join()
        for path in self._path.parent.glob(f"{stem}.*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                self._write("working")

    def _write(self, state: str, message: str = "") -> None:
        self._count += 1
        told = self._told | {"state": state, "count": self._count, "message": message[: _WIDTH // 8]}
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            os.write(descriptor, json.dumps(told).ljust(_WIDTH).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Waiting:
    """A lock as one that does not hold it sees it."""

    def __init__(self, stem: pathlib.Path) -> None:
        """`stem`: the path of lock files but for their number."""
        self._stem = stem
        self._seen: tuple[int, str] | None = None
        self._since = 0.0

    def take(self) -> Held | None:
        """The lock, if nobody else holds it.

        Raises:
            OSError: no file can be made there.
        """
        number, text = self._newest()
        if number and not self._is_left(number, text):
            return None
        path = self._stem.with_name(f"{self._stem.name}.{number + 1}")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return None
        try:
            return Held(path).begin()
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def is_free(self) -> bool:
        """Whether nobody holds it."""
        number, text = self._newest()
        return not number or self._is_left(number, text)

    def failure(self) -> str | None:
        """The error of the one that was seen at work, if it has failed since."""
        number, text = self._newest()
        told = _told(text)
        was_at_work = self._seen is not None and self._seen[0] == number
        return told.get("message") or None if was_at_work and told.get("state") == "left" else None

    def holder(self) -> str:
        """Who holds it, for a reader."""
        told = _told(self._newest()[1])
        return f"process {told.get('pid', '?')} on {told.get('host', 'another host')}"

    def _newest(self) -> tuple[int, str]:
        """Number and content of the newest lock file; 0 where there is none."""
        numbers = [0, *self._numbers()]
        newest = max(numbers)
        text = ""
        if newest:
            with contextlib.suppress(OSError):
                text = self._stem.with_name(f"{self._stem.name}.{newest}").read_text(encoding="utf-8")
        return newest, text

    def _numbers(self) -> Iterator[int]:
        for path in self._stem.parent.glob(f"{self._stem.name}.*"):
            with contextlib.suppress(ValueError):
                yield int(path.name.rpartition(".")[2])

    def _is_left(self, number: int, text: str) -> bool:
        """Whether the one that made a lock file is not at work any more."""
        told = _told(text)
        if told.get("state") == "left":
            return True
        same_host = told.get("host") == socket.gethostname() and told.get("boot") == _boot()
        if same_host and not _is_alive(told.get("pid")):
            return True
        if (number, text) != self._seen:
            self._seen, self._since = (number, text), time.monotonic()
        return time.monotonic() - self._since > STALE_SECONDS


def _told(text: str) -> dict[str, Any]:
    """What a lock file says; nothing where it is just being written."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _boot() -> str:
    """Differs between hosts that are called the same."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text(encoding="utf-8").strip()
    return ""


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
