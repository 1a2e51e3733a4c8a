"""Paths of object stores, of pathlib's kind, that only read: in ranges, without copies."""

import contextlib
import errno
import fnmatch
import functools
import hashlib
import importlib.util
import io
import os
import pathlib
import re
import stat
from collections.abc import Generator, Iterator
from typing import IO, Any, Final

from im_jax.errors import ConfigError, StorageError, UserError
from im_jax.stores.refusals import refusal
from im_jax.stores.waiting import patiently

_PACKAGES: Final = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs", "hf": "huggingface_hub"}
"""What reads each kind of store: those that etils.epath knows."""
_SCHEME: Final = re.compile(r"\A([a-z][a-z0-9+.-]+):/+(?=[^/]|\Z)")
_BUFFER: Final = 1 << 23
"""Bytes that are asked for at a time: few requests, and little that is not needed."""
_PIECE: Final = 1 << 25
"""Bytes of a request, of several at once, where much is wanted."""
_CHANGED: Final = ("mtime", "LastModified", "last_modified")
"""What libraries call the time at which an object was written."""


def readable(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a file or folder that is read, local or of an object store; nothing is asked of it yet.

    Args:
        path: as the user gave it; `~` is the user's home.

    Raises:
        ConfigError: there is no such kind of store, or the package for it is not installed.
    """
    if isinstance(path, StorePath):
        return path
    text = os.fspath(path)
    scheme, colon, rest = text.partition("://")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]+", scheme):
        return pathlib.Path(os.path.expanduser(text))
    if scheme not in _PACKAGES or not rest.strip("/"):
        known = ", ".join(f"{each}://" for each in _PACKAGES)
        raise ConfigError(
            f"{text} is nothing that can be read; name a local path, or one of an object store ({known}), "
            "with its bucket"
        )
    for package in ("fsspec", _PACKAGES[scheme]):
        if importlib.util.find_spec(package) is None:
            how = "'im_jax[gs]'" if scheme == "gs" else _PACKAGES[scheme]
            raise ConfigError(f"{text} needs the package {package}, which is not here: pip install {how}")
    return StorePath(text)


def in_store(path: str | os.PathLike[str]) -> bool:
    """Whether `readable` gives, or has given, a path of an object store."""
    return isinstance(path, StorePath) or bool(re.match(r"[a-z][a-z0-9+.-]+://", os.fspath(path)))


def files_below(folder: pathlib.Path) -> Iterator[pathlib.PurePosixPath]:
    """All files in a folder and its folders, below it; of a store, in one listing. Raises OSError."""
    if isinstance(folder, StorePath):
        found: Iterator[pathlib.Path] = folder.objects()
    else:
        found = (path for path in folder.rglob("*") if path.is_file())
    return (pathlib.PurePosixPath(path.relative_to(folder)) for path in found)


class StorePath(pathlib.PosixPath):
    """An object, or what names of objects begin with.

    What is not there is a `FileNotFoundError`, as on disks; a bucket that is not there, a missing right,
    or a store out of reach is a `UserError` that says so.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return _SCHEME.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> "StorePath":
        """Itself: it is the same everywhere."""
        return self

    def resolve(self, strict: bool = False) -> "StorePath":
        """Itself."""
        return self

    def expanduser(self) -> "StorePath":
        """Itself."""
        return self

    @property
    def _scheme(self) -> str:
        return self.parts[0].removesuffix(":")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind, size and times as files have them; the inode is another one for each content."""
        with self._asking():
            told = self._info()
        if told["type"] == "directory":
            return _stat_result(stat.S_IFDIR | 0o555, 0, 0, 0)
        changed = next((told[key] for key in _CHANGED if hasattr(told.get(key), "timestamp")), None)
        seconds = changed.timestamp() if changed is not None else 0.0
        version = "/".join(str(told.get(key, "")) for key in ("generation", "etag", "ETag", "blob_id"))
        return _stat_result(
            stat.S_IFREG | 0o444,
            int.from_bytes(hashlib.sha256(version.encode()).digest()[:7]),
            int(told["size"]),
            int(seconds * 1e9),
        )

    def lstat(self) -> os.stat_result:
        """There are no links."""
        return self.stat()

    def exists(self, **_: Any) -> bool:
        """Whether there is an object, or one whose name begins so."""
        return bool(self._mode())

    def is_file(self, **_: Any) -> bool:
        """Whether it is an object."""
        return stat.S_ISREG(self._mode())

    def is_dir(self, **_: Any) -> bool:
        """Whether names of objects begin so."""
        return stat.S_ISDIR(self._mode())

    def _mode(self) -> int:
        try:
            return self.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def iterdir(self) -> Generator["StorePath", None, None]:
        """Objects and folders in it."""
        with self._asking():
            names = self._files.ls(str(self), detail=False)
        yield from map(self._named, names)

    def glob(self, pattern: str, **_: Any) -> Iterator["StorePath"]:  # type: ignore[override]
        """Objects below it that a pattern means, by name; `**` reaches into folders."""
        with self._asking():
            found = self._files.glob(f"{self}/{pattern}", detail=True)
        yield from (self._named(name) for name, told in sorted(found.items()) if told["type"] == "file")

    def rglob(self, pattern: str, **_: Any) -> Iterator["StorePath"]:  # type: ignore[override]
        """Objects below it whose last names a pattern means."""
        return (found for found in self.objects() if fnmatch.fnmatchcase(found.name, pattern))

    def objects(self) -> Iterator["StorePath"]:
        """All objects below it, by name."""
        with self._asking():
            names = self._files.find(str(self))
        yield from (self._named(name) for name in sorted(names))

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Its content, to be read."""
        if mode not in ("r", "rb", "rt"):
            raise OSError(f"{self} is only read")
        told = self.stat()
        if stat.S_ISDIR(told.st_mode):
            raise IsADirectoryError(f"{self} is a folder")
        file = io.BufferedReader(_Ranges(self, told.st_size), _BUFFER)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding, errors, newline)

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes of an object, several pieces at a time where they are many.

        Raises:
            StorageError: it has not so many.
        """
        starts = range(start, stop, _PIECE)
        with self._asking():
            pieces = self._files.cat_ranges(
                [str(self)] * len(starts),
                list(starts),
                [min(at + _PIECE, stop) for at in starts],
                on_error="raise",
            )
        if sum(map(len, pieces)) != stop - start:
            raise StorageError(f"{self} has changed while it was read; start again when it is written")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def _files(self) -> Any:
        return _filesystem(self._scheme)

    def _info(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._files.info(str(self))
            return found
        except FileNotFoundError:
            if self._scheme == "gs" and len(self.parts) > 1 and not _is_bucket(self.parts[1]):
                raise ConfigError(
                    f"{self}: there is no bucket {self.parts[1]!r}; correct it; gcloud storage ls shows yours"
                ) from None
            raise FileNotFoundError(errno.ENOENT, "there is no such object", str(self)) from None

    def _named(self, name: str) -> "StorePath":
        return StorePath(name if "://" in name else f"{self._scheme}://{name}")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Say in one line why a store refuses. What is not there is for the caller to tell."""
        try:
            with patiently(self):
                yield
        except (FileNotFoundError, NotADirectoryError, UserError):
            raise
        except Exception as error:
            raise refusal(str(self), self._scheme, error) from error


class _Ranges(io.RawIOBase):
    """An object from its start, a range at a time."""

    def __init__(self, path: StorePath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        found = self._path.read_range(self._at, stop)
        view[: len(found)] = found
        self._at = stop
        return len(found)


def _stat_result(mode: int, inode: int, size: int, nanoseconds: int) -> os.stat_result:
    seconds = nanoseconds // 10**9
    times = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), nanoseconds)
    return os.stat_result((mode, inode, 0, 1, 0, 0, size, seconds, seconds, seconds), times)


def _filesystem(scheme: str) -> Any:
    import logging

    import fsspec

    # Its log has whole tracebacks of what is said here in a line.
    logging.getLogger(_PACKAGES[scheme]).setLevel(logging.CRITICAL + 1)
    return fsspec.filesystem(scheme, use_listings_cache=False)  # others write there too


@functools.cache
def _is_bucket(bucket: str) -> bool:
    """Whether there is one; yes where that may not be asked."""
    try:
        _filesystem("gs").call("GET", "b/{}/o", bucket, maxResults=1, json_out=True)
    except FileNotFoundError:
        return False
    except Exception:  # what was asked before has an answer of its own
        return True
    return True
