"""What lies in the cache, how long it was not used, and its removal."""

import contextlib
import datetime
import pathlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.filesize import decimal

from im_jax.data.store.cache import remove_set
from im_jax.data.store.folder import MANIFEST, open_folder
from im_jax.errors import ConfigError, DataError
from im_jax.text import counted, in_one_line

_SET: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN: Final = 8
"""Characters of a set's name that are shown, and that name it where no other begins so."""
_DAY: Final = 86_400.0
_UNUSED: Final = "unused:"


@dataclass(frozen=True)
class CachedSet:
    """A set of encoded examples in the cache."""

    place: pathlib.Path
    size: int
    """Bytes."""
    used: float
    """Seconds since 1970 when it was made or last opened."""
    examples: int | None
    """None: it is damaged, and is encoded anew when it is asked for."""
    tokens: int
    made_from: tuple[str, ...]
    """Files, as they were called then."""
    asked: dict[str, Any]
    """`template`, `tokenizer` and `max_length`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.place.name,
            "bytes": self.size,
            "last_used": datetime.datetime.fromtimestamp(self.used, datetime.UTC).isoformat(
                timespec="seconds"
            ),
            "examples": self.examples,
            "tokens": self.tokens,
            "made_from": list(self.made_from),
            **self.asked,
        }

    def row(self) -> list[str]:
        """For a reader: name, last use, examples, tokens, size, and what it was made from."""
        day = datetime.datetime.fromtimestamp(self.used).strftime("%Y-%m-%d")
        count = "damaged" if self.examples is None else f"{self.examples:,}"
        first, more = "".join(self.made_from[:1]), len(self.made_from) - 1
        said = [f"{first} and {more} more" if more > 0 else first]
        said += [f"{name} {value}" for name, value in self.asked.items()]
        shown = in_one_line(", ".join(said))
        return [self.place.name[:_SHOWN], day, count, f"{self.tokens:,}", decimal(self.size), shown]


def cached_sets(cache: pathlib.Path) -> list[CachedSet]:
    """All whole sets, the last used one first."""
    folder = cache / "sets"
    places = [place for place in folder.iterdir() if _SET.fullmatch(place.name)] if folder.is_dir() else []
    return sorted(map(_looked_at, places), key=lambda each: (-each.used, each.place.name))


def _looked_at(place: pathlib.Path) -> CachedSet:
    size, used = _sizes(place), 0.0
    with contextlib.suppress(OSError):
        used = place.stat().st_mtime  # of one that has lost its manifest
        used = (place / MANIFEST).stat().st_mtime
    try:
        dataset, facts = open_folder(place)
    except (OSError, DataError):
        return CachedSet(place, size, used, None, 0, (), {})
    tokens = len(dataset.tokens)
    return CachedSet(place, size, used, len(dataset), tokens, tuple(facts["paths"]), facts.get("asked", {}))


def beside(cache: pathlib.Path) -> dict[str, int]:
    """Bytes of what is kept beside the sets."""
    return {name: _sizes(cache / name) for name in ("plans", "digests")}


def _sizes(folder: pathlib.Path) -> int:
    total = 0
    for file in folder.glob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


HEADER: Final = ("name", "last used", "examples", "tokens", "size", "made from")


def text_of(cache: pathlib.Path, found: Sequence[CachedSet]) -> str:
    """For a reader."""
    size = decimal(sum(each.size for each in found))
    lines = [f"{cache}: {counted(len(found), 'set')}, {size}"]
    rows = [list(HEADER), *(each.row() for each in found)] if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:-1], widths[1:], strict=True))]
        lines.append("  ".join([*cells, row[-1]]))
    lines += [f"{name}: {decimal(number)}" for name, number in beside(cache).items() if number]
    return "\n".join(lines)


def chosen(found: Sequence[CachedSet], which: str) -> list[CachedSet]:
    """The sets that a user names: `all`, beginnings of their names joined by commas, or `unused:DAYS`.

    Raises:
        ConfigError: it names none, or not only one.
    """
    if which == "all":
        return list(found)
    if which.startswith(_UNUSED):
        days = which.removeprefix(_UNUSED)
        if not days.isascii() or not days.isdigit():
            raise ConfigError(f"--remove={which}: {days!r} must be a number of days, as in {_UNUSED}30")
        before = time.time() - int(days) * _DAY
        return [each for each in found if each.used < before]
    named: dict[pathlib.Path, CachedSet] = {}
    for name in which.split(","):
        fits = [each for each in found if name.strip() and each.place.name.startswith(name.strip())]
        if len(fits) != 1:
            how_many = f"{len(fits)} sets begin" if fits else "no set begins"
            raise ConfigError(
                f"--remove={which}: {how_many} with {name.strip()!r}; name each by its beginning, or give "
                f"all or {_UNUSED}DAYS"
            )
        named[fits[0].place] = fits[0]
    return list(named.values())


def remove(cache: pathlib.Path, which: str) -> str:
    """Remove the sets that a user names, with `all` plans and digests too; says what was removed.

    Raises:
        ConfigError: see `chosen`; or a set cannot be removed.
    """
    gone = chosen(cached_sets(cache), which)
    for each in gone:
        remove_set(each.place)
        if each.place.exists():
            raise ConfigError(f"{each.place} cannot be removed; look whose it is")
    if which == "all":
        for file in [*(cache / "plans").glob("*"), *(cache / "digests").glob("*")]:
            with contextlib.suppress(OSError):
                file.unlink()
    return f"{counted(len(gone), 'set')} removed from {cache}, {decimal(sum(each.size for each in gone))}"
