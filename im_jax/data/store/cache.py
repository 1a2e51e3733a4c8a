"""Encoded sets on disk: found by their key, made by one process, and waited for by the others.

    CACHE/sets/KEY/                  a whole set; its manifest has the time of its last use
    CACHE/sets/KEY.HOST-PID.part/    one that is being written, renamed at the end
    CACHE/sets/KEY.lock.1            who writes it
    CACHE/plans/, CACHE/digests/     packing plans, and digests of files

Whatever is killed when, a set is there as a whole or not at all.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from im_jax.activity import Activity
from im_jax.data.dataset import EncodedDataset
from im_jax.data.store.contents import NOT_WRITABLE
from im_jax.data.store.folder import MANIFEST, FolderWriter, open_folder, sync_folder
from im_jax.data.store.turns import Held, Waiting
from im_jax.errors import ConfigError, DataError, StorageError
from im_jax.stores import in_store

Facts = dict[str, Any]
"""What is known of a set beside its arrays, as JSON holds it."""
Take = Callable[[EncodedDataset], None]
Make = Callable[[Take], Facts]
"""Encodes a set: hands all parts of it on, in order, and returns its facts."""

_FIRST_LOOK_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
_OLD_SECONDS: Final = 86_400.0


class Found(NamedTuple):
    """A set that was found, or made."""

    dataset: EncodedDataset
    facts: Facts
    notes: tuple[str, ...] = ()
    """What a user should know."""
    place: pathlib.Path | None = None
    """Where it is kept; None: in memory."""


class NotWritable(Exception):
    """The cache is no place to write to: the message says why."""


def cache_folder(setting: str) -> pathlib.Path | None:
    """The folder that `data.cache` means; None: nothing is kept. Raises ConfigError if it is no local one."""
    chosen = setting or os.environ.get("IM_JAX_CACHE", "")
    if chosen == "none":
        return None
    if in_store(chosen):
        name = "data.cache" if setting else "IM_JAX_CACHE"
        raise ConfigError(
            f"{name}={chosen} is not on this machine's disks, from which examples are mapped; set a folder"
            " that is"
        )
    if chosen:
        return pathlib.Path(chosen).expanduser()
    users = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (pathlib.Path(users) if users else pathlib.Path.home() / ".cache") / "im_jax"
    except RuntimeError:  # a user without a home
        return None


class KeptSet:
    """A set in the cache, by its key."""

    def __init__(self, cache: pathlib.Path, key: str) -> None:
        """`cache`: the folder of all sets. `key`: what the set is made from."""
        self._folder = cache / "sets"
        self._key = key
        self._place = self._folder / key
        self._notes: list[str] = []

    def look_up(self) -> Found | None:
        """The set, if it is there. One that is damaged is removed, which is noted on what is made instead."""
        try:
            dataset, facts = open_folder(self._place)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._notes.append(f"{self._place} cannot be read: {error.strerror or error}; encoded anew")
            return None
        except DataError as error:
            self._notes.append(f"{error}; encoded anew")
            remove_set(self._place)
            return None
        with contextlib.suppress(OSError):  # the cache may be only to read
            os.utime(self._place / MANIFEST)
        return Found(dataset, facts, tuple(self._notes), self._place)

    def find_or_make(self, make: Make, doing: Activity) -> Found:
        """The set if it is there, or will be when the process that makes it is done; else it is made here.

        Args:
            make: makes it.
            doing: shows what is waited for.

        Raises:
            NotWritable: it is not there, and nothing can be written.
            StorageError: the disk is full.
            Whatever `make` raises, here or in the process that was waited for.
        """
        waiting = Waiting(self._folder / f"{self._key}.lock")
        while True:
            if (found := self.look_up()) is not None:
                return found
            with _may_be_refused(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                held = waiting.take()
            if held is None:
                self._wait(waiting, doing)
            else:
                with held:
                    self._make(held, make)

    def _wait(self, waiting: Waiting, doing: Activity) -> None:
        """Until the set is there, or nobody makes it any more."""
        look = _FIRST_LOOK_SECONDS
        with doing(f"waiting for {waiting.holder()}, which encodes the examples"):
            while not self._place.exists():
                time.sleep(look)
                look = min(2 * look, _LOOK_SECONDS)
                if (message := waiting.failure()) is not None:
                    raise DataError(message)
                if waiting.is_free():
                    return

    def _make(self, held: Held, make: Make) -> None:
        if self._place.exists():  # made since it was looked for
            held.done()
            return
        self._sweep()
        name = f"{self._key}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
        with _may_be_refused(self._folder):
            writer = FolderWriter(self._folder / name)
        try:
            facts = make(writer.add)
            writer.finish(facts)
            self._put(writer.folder)
        except StorageError as error:
            raise StorageError(
                f"{error}; free some room, or set --config.data.cache to another folder"
            ) from None
        finally:
            writer.close()
            remove_set(writer.folder)
        held.done()

    def _put(self, folder: pathlib.Path) -> None:
        """Give a written set its name, unless another process has been faster."""
        try:
            folder.rename(self._place)
        except OSError as error:
            if not self._place.exists():
                raise StorageError(f"{self._place} cannot be written: {error.strerror or error}") from error
        sync_folder(self._folder)

    def _sweep(self) -> None:
        """Remove what killed processes left: of this set, since it is ours to make now; of others, if old."""
        now = time.time()
        for left in self._folder.glob("*.part"):
            with contextlib.suppress(OSError):
                changed = max((file.stat().st_mtime for file in [left, *left.iterdir()]), default=now)
                if left.name.startswith(f"{self._key}.") or now - changed > _OLD_SECONDS:
                    remove_set(left)


def remove_set(folder: pathlib.Path) -> None:
    """Remove a folder, so that it is never half there under the name of a set."""
    if not folder.exists():
        return
    doomed = folder
    if not folder.name.endswith(".part"):
        doomed = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
        with contextlib.suppress(OSError):
            folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def _may_be_refused(folder: pathlib.Path) -> Iterator[None]:
    """Tell a folder that cannot be written from a disk that is full."""
    try:
        yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = f"{folder} cannot be written: {getattr(cause, 'strerror', None) or cause}"
        if getattr(cause, "errno", None) in NOT_WRITABLE:
            raise NotWritable(reason) from None
        raise StorageError(f"{reason}; set --config.data.cache to another folder, or to none") from None
