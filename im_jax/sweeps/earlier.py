"""Runs of earlier releases found again: their hash counted every field that there was, not differences alone.

A run's config.json names the fields that its release had. With all others at their defaults, a cell is that
run if the hash over those fields is the run's.
"""

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from im_jax.config import Config, flatten, records
from im_jax.config.record import Decides
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.results import ResultsFile, read_object

_LEFT_OUT: Final = ("log.", "checkpoint.", "mesh.", "data.workers")
"""Fields that those hashes did not count."""
_ASKED_FOR: Final = {"tokenizer.path": "bytes"}
"""What an empty field was called before it could be empty."""


def known_again(cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path) -> None:
    """Let results of earlier releases be found by the hashes of now; nothing is written."""
    for cell, directory in find_earlier(cells, workdir):
        results.call(_hash_in(directory), cell.hash)


def adopt(cells: Sequence[Cell], results: ResultsFile, workdir: pathlib.Path) -> None:
    """Give results and directories of earlier releases the hashes of now, so that they go on as any other."""
    found = list(find_earlier(cells, workdir))
    for cell, directory in found:
        results.call(_hash_in(directory), cell.hash)
    if found:
        results.save()  # first: a result without its directory is whole, a directory is found again
    for cell, directory in found:
        directory.rename(cell.directory(workdir))


def find_earlier(cells: Sequence[Cell], workdir: pathlib.Path) -> Iterator[tuple[Cell, pathlib.Path]]:
    """Cells that an earlier release ran or began, and where; none that has a directory under its hash."""
    directories = _by_fields(workdir / "runs")
    for cell in cells:
        if cell.directory(workdir).exists():
            continue
        for fields, by_hash in directories.items():
            directory = by_hash.get(earlier_hash(cell.config, fields) or "")
            if directory is not None:
                yield cell, directory
                break


def _hash_in(directory: pathlib.Path) -> str:
    """The hash at the end of the name of a run's directory."""
    return directory.name.rpartition("-")[2]


def earlier_hash(config: Config, fields: Collection[str]) -> str | None:
    """The hash that a release with these fields gave to a run; None if it could not have run that."""
    known, flat = records(type(config)), flatten(config)
    if not flat.keys() >= set(fields):
        return None
    since = [name for name in flat.keys() - set(fields) if known[name].decides is Decides.RESULT]
    if any(flat[name] != known[name].default for name in since):
        return None
    counted = {
        name: _canonical(flat[name] or _ASKED_FOR.get(name, flat[name]), known[name].types)
        for name in fields
        if not name.startswith(_LEFT_OUT)
    }
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:8]


def _canonical(value: Any, types: Collection[type]) -> Any:
    """Whole numbers in fields of real numbers as those: 1 and 1.0 are one run."""
    return float(value) if isinstance(value, int) and float in types else value


def _by_fields(runs: pathlib.Path) -> dict[frozenset[str], dict[str, pathlib.Path]]:
    """Directories of runs by the fields of their release, and by their hash."""
    found: dict[frozenset[str], dict[str, pathlib.Path]] = {}
    for path in sorted(runs.glob("*/config.json")):
        try:
            fields = frozenset(_names(read_object(path.read_bytes())))
        except (
            OSError,
            ValueError,
            RecursionError,
        ):  # then it says no fields
            continue
        found.setdefault(fields, {})[_hash_in(path.parent)] = path.parent
    return found


def _names(group: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name
