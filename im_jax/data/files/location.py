"""The files that a text such as `data.path` names."""

from pathlib import Path
from typing import NamedTuple

from im_jax.errors import DataError


class File(NamedTuple):
    """A file of records."""

    path: str
    """As the user wrote it."""


def located(joined: str, field: str) -> list[File]:
    """The files that a text names, in order.

    Args:
        joined: a file, or several joined by commas.
        field: the field of the configuration that names them, for errors.

    Raises:
        DataError: it names none. Whether they can be read is not looked at.
    """
    paths = split_paths(joined)
    if not paths:
        raise DataError(f"{field} names no file; set --config.{field}=FILE, or several with commas")
    return [File(path) for path in paths]


def split_paths(joined: str) -> list[str]:
    """The parts of a text that joins them by commas; the name of a file that is there may have commas too."""
    parts = joined.split(",")
    paths = []
    while parts:
        names = [",".join(parts[:count]).strip() for count in range(1, len(parts) + 1)]
        there = (name for name in [names[-1], *names] if name and Path(name).expanduser().exists())
        chosen = next(there, names[0])
        paths.append(chosen)
        parts = parts[names.index(chosen) + 1 :]
    return [path for path in paths if path]
