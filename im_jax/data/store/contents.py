"""What files hold, as digests: read once, and remembered as long as a file is as it was."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import stat
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from im_jax.errors import DataError
from im_jax.stores import in_store, readable

_BLOCK: Final = 1 << 20
_FRESH_SECONDS: Final = 5.0
"""Of a file that was changed more recently, the times do not tell whether it was changed again."""


class Signature(NamedTuple):
    """What changes with the contents of a file, as far as its file system says."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Contents(NamedTuple):
    """A file as it was read."""

    path: str
    """As the user wrote it."""
    signature: Signature
    digest: str
    """SHA-256 of all bytes."""
    is_fresh: bool
    """Whether its signature says nothing yet."""


def contents_of(path: str, cache: pathlib.Path | None) -> Contents | None:
    """The digest of a file; None where it cannot be read, which whoever reads it for its records will tell.

    Args:
        path: of a regular file.
        cache: a folder in which digests are remembered.

    Raises:
        DataError: it changes meanwhile.
    """
    place = readable(path)
    try:
        before, mode = _signature(place)
        if not stat.S_ISREG(mode):
            return None
        is_fresh = time.time() - max(before.mtime_ns, before.ctime_ns) / 1e9 < _FRESH_SECONDS
        note = None if cache is None else _note(cache, place)
        digest = None if note is None or is_fresh else _remembered(note, before)
        if digest is None:
            digest = _read(place)
            if _signature(place)[0] != before:
                raise _changed(path)
            if note is not None and not is_fresh:
                _remember(note, place, before, digest)
    except OSError:
        return None
    return Contents(path, before, digest, is_fresh)


def refuse_changed(files: Iterable[Contents]) -> None:
    """Stop if a file is not as it was when its digest was taken: records of both states may have been read.

    Raises:
        DataError: naming the file.
    """
    for file in files:
        place = readable(file.path)
        try:
            same = _signature(place)[0] == file.signature
            if same and file.is_fresh:
                same = _read(place) == file.digest
        except OSError:
            same = False
        if not same:
            raise _changed(file.path)


def _changed(path: str) -> DataError:
    return DataError(f"{path}: has changed while it was read; start again when it is written")


def _signature(place: pathlib.Path) -> tuple[Signature, int]:
    told = place.stat()
    return Signature(told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino), told.st_mode


def _read(place: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with place.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _note(cache: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    name = hashlib.sha256(os.fsencode(_real(place))).hexdigest()[:32]
    return cache / "digests" / f"{name}.json"


def _real(place: pathlib.Path) -> str:
    return str(place) if in_store(place) else os.path.realpath(place)


def _remembered(note: pathlib.Path, signature: Signature) -> str | None:
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
        digest = told["sha256"]
        is_same = told["signature"] == list(signature)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return digest if is_same and isinstance(digest, str) and len(digest) == 64 else None


def _remember(note: pathlib.Path, place: pathlib.Path, signature: Signature, digest: str) -> None:
    told = {"file": _real(place), "signature": signature, "sha256": digest}
    temporary = note.with_name(f"{note.name}.{os.getpid()}")
    with contextlib.suppress(OSError, UnicodeEncodeError):  # it saves time, no more
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(told), encoding="utf-8")
        temporary.replace(note)


NOT_WRITABLE: Final = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
"""Why a folder cannot be written, other than that it is full."""
