"""What object stores lack: files that lines are added to, and a directory held by one process."""

import contextlib
import io
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from im_jax.errors import ConfigError, StorageError, UserError
from im_jax.stores.places import bucket_and_name
from im_jax.stores.waiting import patiently

_LOCK: Final = ".lock"
_BEAT_SECONDS: Final = 10.0
"""How often who holds a directory says so."""
_PATIENCE_SECONDS: Final = 45.0
"""After so long without a word, whoever held a directory is gone."""
_LEAST_SECONDS: Final = 10.0
_LARGEST_SHARE: Final = 0.02
"""Of the time may go into writing a file anew."""


@contextlib.contextmanager
def writing_remote(path: pathlib.Path) -> Iterator[None]:
    """Say in one line what could not be written, and why: libraries of stores have errors of their own.

    Raises:
        StorageError: for any error inside that is not the user's.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise StorageError(f"{path} cannot be written: {reason}") from error


class Rewritten:
    """A file of lines in a store, written whole now and then: a kill loses what came since.

    That is at least every ten seconds as long as lines come, and later where writing takes long.
    """

    def __init__(self, path: pathlib.Path, content: bytes) -> None:
        """`content`: what it holds so far."""
        self._path, self._content = path, bytearray(content)
        self._next, self._is_written = 0.0, True

    def add(self, line: bytes) -> None:
        """Add a line with its end. Raises StorageError."""
        self._content += line
        self._is_written = False
        if time.monotonic() >= self._next:
            self.flush()

    def lines(self) -> list[bytes]:
        """What it holds, with the ends of lines."""
        return io.BytesIO(self._content).readlines()

    def cut(self, size: int) -> None:
        """Keep so many bytes of it."""
        self._is_written = self._is_written and size == len(self._content)
        del self._content[size:]

    def flush(self) -> None:
        """Write it now, if there is anything new. Raises StorageError."""
        if self._is_written:
            return
        began = time.monotonic()
        with writing_remote(self._path):
            self._path.write_bytes(bytes(self._content))
        self._is_written = True
        now = time.monotonic()
        self._next = now + max(_LEAST_SECONDS, (now - began) / _LARGEST_SHARE)


@contextlib.contextmanager
def held(directory: pathlib.Path) -> Iterator[None]:
    """Hold a directory of a store by an object in it, made only where there is none, which says who is there.

    Its holder changes it every ten seconds. One that does not change for 45 seconds is of a process that was
    killed, and is taken over, which is waited for; at once where that process was on this host.

    Raises:
        ConfigError: another process holds it.
        StorageError: it cannot be written.
    """
    import fsspec

    files: Any = fsspec.filesystem(os.fspath(directory).partition("://")[0], use_listings_cache=False)
    path, ended = os.fspath(directory / _LOCK), threading.Event()
    me = f"process {os.getpid()} on {socket.gethostname()}"
    with writing_remote(directory / _LOCK), patiently(directory / _LOCK):
        _take(files, directory, path, me)

    def beat() -> None:
        number = 0
        while not ended.wait(_BEAT_SECONDS):
            number += 1
            with contextlib.suppress(
                Exception
            ):  # the next one may get through; what is written tells the user
                files.setxattrs(path, beat=str(number))

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(Exception):  # gone already, or out of reach: then it ages
            if files.cat_file(path).decode() == me:
                files.rm_file(path)


def _take(files: Any, directory: pathlib.Path, path: str, me: str) -> None:
    """Make the object of a directory, once that of a process that is gone has been removed."""
    while True:
        with contextlib.suppress(FileExistsError):
            return files.pipe_file(path, me.encode(), mode="create")
        with contextlib.suppress(FileNotFoundError):  # let go of meanwhile
            before = files.info(path)
            holder = files.cat_file(path).decode(errors="replace")
            until = time.monotonic() + (0 if _is_gone(holder) else _PATIENCE_SECONDS)
            while time.monotonic() < until:
                time.sleep(0.2)
                if _version(files.info(path)) != _version(before):
                    raise ConfigError(
                        f"--workdir={directory}: {holder} is at work there; wait for it, or choose "
                        "another directory"
                    )
            bucket, name = bucket_and_name(directory / _LOCK)
            # Of several that come to this, one finds what it saw.
            files.call("DELETE", "b/{}/o/{}", bucket, name, ifGenerationMatch=before["generation"])


def _version(info: dict[str, Any]) -> tuple[str, str]:
    return info["generation"], info["metageneration"]


def _is_gone(holder: str) -> bool:
    """Whether it is a process of this host that is not there any more."""
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
