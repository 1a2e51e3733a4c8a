"""Files that outlive kills, full disks and a second process: whole writes, and a directory held by one."""

import contextlib
import errno
import fcntl
import io
import os
import pathlib
import socket
import sys
from collections.abc import Iterator
from typing import Final, TextIO

from im_jax.errors import ConfigError, StorageError
from im_jax.stores.places import check_local, is_remote, local
from im_jax.stores.writing import held, writing_remote

_LOCK: Final = ".lock"


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Write a file so that readers, and whoever comes after a kill, see the old one or the new one.

    Args:
        path: where; its directory is there.
        content: text is written as UTF-8.

    Raises:
        StorageError: there is no room, or the directory is gone; the old file is as it was.
    """
    if is_remote(path):  # where objects are whole or not there
        with writing(path):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    temporary = path.with_name(path.name + ".new")
    with writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def output_file(path: str | None) -> Iterator[TextIO]:
    """What `--output` names, to be written to, or standard output if it names nothing.

    A file that is there stays as it is until all that is written inside is, and if anything fails.

    Raises:
        ConfigError: it cannot be written, said before anything is made for it.
        StorageError: it can no longer be written at the end.
    """
    if path is None:
        yield sys.stdout
        return
    place = local(path)
    is_new, is_stream = not place.exists(), place.is_fifo() or place.is_char_device()
    try:
        if not is_stream:
            place.open("a").close()
        if is_new:
            place.unlink()
    except OSError as error:
        raise ConfigError(f"--output={path} cannot be written: {error.strerror}") from error
    text = io.StringIO()
    yield text
    if is_stream or place.is_symlink():
        with writing(place):
            place.write_text(text.getvalue(), encoding="utf-8")
    else:
        write_whole(place, text.getvalue())


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Say in one line what could not be written, and why.

    Raises:
        StorageError: for any `OSError` inside; of a store, for any error.
    """
    if is_remote(path):
        with writing_remote(path):
            yield
        return
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def alone(directory: pathlib.Path) -> Iterator[None]:
    """Hold a directory, made if it is not there: two processes would overwrite each other's files.

    The system lets go of it when this process ends, however it ends. A directory that was made here and in
    which nothing was written goes again. Where the file system knows no locks, nothing is held.

    Raises:
        ConfigError: another process holds it.
        StorageError: it cannot be made.
    """
    if is_remote(directory):
        with held(directory):
            yield
        return
    check_local(directory, "--workdir")
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    with _locked(directory) as file:
        try:
            with writing(directory / _LOCK):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            yield
        finally:
            with contextlib.suppress(OSError):  # removed by others meanwhile, or a parent that others use too
                if new and [path.name for path in directory.iterdir()] == [_LOCK]:
                    (directory / _LOCK).unlink()
                    for path in new:
                        path.rmdir()


def _locked(directory: pathlib.Path) -> io.FileIO:
    """The lock file of a directory, locked."""
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / _LOCK).open("a+b", buffering=0)  # not emptied: it says who holds it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return file
        with file:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
        raise ConfigError(
            f"--workdir={directory}: {holder} is at work there; wait for it, or choose another directory"
        ) from error
    if os.fstat(file.fileno()).st_nlink == 0:  # whoever held it has just removed it
        file.close()
        return _locked(directory)
    return file
