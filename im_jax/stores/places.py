"""Where a run is kept: a local directory, or one of an object store, such as `gs://bucket/run`.

Both are paths of pathlib's kind. An object store has objects that are whole or not there: none is added to,
directories are only what names have in common, and nothing is renamed at once.
"""

import importlib.util
import os
import pathlib
import re
from typing import TYPE_CHECKING, Final, cast

from im_jax.errors import ConfigError

if TYPE_CHECKING:
    Place = pathlib.Path
else:  # paths of stores have its methods, and are of its kind only by name
    Place = pathlib.PurePath

_PACKAGES: Final = {"gs": "gcsfs"}
"""What reads and writes each kind of store. Checkpoints can be written to these alone."""


def place(path: str | os.PathLike[str], name: str = "--workdir") -> pathlib.Path:
    """The path, local or of an object store; nothing is asked of it yet.

    Args:
        path: as the user gave it.
        name: of the flag or field, for messages.

    Raises:
        ConfigError: there is no such kind of store, or the package for it is not installed.
    """
    text = os.fspath(path)
    scheme, colon, rest = text.partition(":")
    if not colon or not rest.startswith("/") or "/" in scheme:
        return pathlib.Path(text)
    known = " or ".join(f"{each}://BUCKET/PATH" for each in _PACKAGES)
    if scheme not in _PACKAGES or not rest.startswith("//") or not rest.strip("/"):
        raise ConfigError(f"{name}={text} is no place to write to; set a local directory, or {known}")
    package = _PACKAGES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{name}={text} needs the package {package}, which is not here: pip install 'im_jax[{scheme}]'"
        )
    import fsspec
    from etils import epath

    # Others write there too: TensorStore in this process, and other hosts.
    fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    return cast(pathlib.Path, epath.Path(text))


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path of `place` is one of an object store."""
    return "://" in os.fspath(path)


def check_local(path: pathlib.Path, name: str) -> None:
    """Stop before a local folder is made that is called `gs:`.

    Args:
        path: made by pathlib of what the user gave, which takes one of two slashes away.
        name: of the flag or field, for messages.

    Raises:
        ConfigError: it begins like a place of an object store.
    """
    if (
        re.fullmatch(r"[a-z][a-z0-9+.-]+:", next(iter(path.parts), ""))
        and not pathlib.Path(path.parts[0]).exists()
    ):
        raise ConfigError(
            f"{name}={path} is not on this machine's disks; name a local directory, and copy it afterwards"
        )


def local(path: str | os.PathLike[str], name: str = "--output") -> pathlib.Path:
    """The path of what is written to this machine's disks. Raises as `check_local`."""
    found = pathlib.Path(path)
    check_local(found, name)
    return found


def absolute(path: pathlib.Path) -> pathlib.Path:
    """The same place, whatever the directory of the process is."""
    return path if is_remote(path) else path.resolve()


def bucket_and_name(path: pathlib.Path) -> tuple[str, str]:
    """Of a path of an object store: `gs://bucket/a/b` is `bucket` and `a/b`."""
    bucket, _, name = os.fspath(path).partition("://")[2].partition("/")
    return bucket, name
