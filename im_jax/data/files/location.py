"""The files that a text such as `data.path` names: files, globs, folders of shards, joined by commas."""

import glob
import os
from pathlib import Path
from typing import Final, NamedTuple

from im_jax.data.files.folder import files_in
from im_jax.data.files.opening import flag_of
from im_jax.errors import DataError
from im_jax.stores import in_store, readable

_GLOB: Final = "*?["


class File(NamedTuple):
    """A file of records."""

    path: str
    """As the user wrote it, or below what the user wrote."""


def located(joined: str, field: str, splits: tuple[str, ...] = ("train",)) -> list[File]:
    """The files that a text names, in order; those of a glob or a folder by name.

    Args:
        joined: a file, a glob such as `data/*.jsonl`, or a folder of shards as a hub lays it out; or several
            joined by commas.
        field: the field of the configuration that names them, for errors.
        splits: of a folder that has several, the first of these that it has.

    Raises:
        DataError: one names no file, a folder does not say which files are meant, or a file is named twice.
            Whether files can be read is not looked at.
    """
    paths = split_paths(joined)
    if not paths:
        raise DataError(f"{field} names no file; set {flag_of(field)}=FILE, or several with commas")
    files: list[File] = []
    seen: dict[str, str] = {}
    for path in paths:
        for found in _files_of(path, field, splits):
            real = str(readable(found)) if in_store(found) else os.path.realpath(readable(found))
            if real in seen:
                again = f"{found!r} again" if seen[real] == found else f"{seen[real]!r} again, as {found!r}"
                raise DataError(f"{field}: {path!r} names {again}; name each file once")
            seen[real] = found
            files.append(File(found))
    return files


def _files_of(path: str, field: str, splits: tuple[str, ...]) -> list[str]:
    place = readable(path)
    if place.is_dir():
        return files_in(path, field, splits)
    if place.exists() or not set(path) & set(_GLOB):
        return [path]
    found, files = _matching(path)
    if not files:
        only = "only folders match" if found else "no file matches"
        raise DataError(f"{field}: {only} {path!r}; correct it, or name the files")
    return files


def _matching(pattern: str) -> tuple[list[str], list[str]]:
    """What a glob means, and the files of that, by name."""
    if in_store(pattern):
        bucket, _, rest = pattern.partition("://")[2].partition("/")
        files = [str(file) for file in readable(f"{pattern.partition('://')[0]}://{bucket}").glob(rest)]
        return files, files
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
    return found, [name for name in found if not os.path.isdir(name)]


def has_folder(joined: str) -> bool:
    """Whether any part is a folder, of which a split can be chosen."""
    return any(readable(path).is_dir() for path in split_paths(joined))


def split_paths(joined: str) -> list[str]:
    """The parts of a text that joins them by commas; the name of a local file may have some too."""
    parts = joined.split(",")
    paths = []
    while parts:
        names = [",".join(parts[:count]).strip() for count in range(1, len(parts) + 1)]
        there = (name for name in [names[-1], *names] if name and Path(name).expanduser().exists())
        chosen = names[0] if in_store(names[0]) else next(there, names[0])
        paths.append(chosen)
        parts = parts[names.index(chosen) + 1 :]
    return [path for path in paths if path]
