"""A folder of shards as a hub lays it out: which of its files are the split that is asked for.

What `configs` in the front matter of README.md says counts; else the names of the files:

    data/train-00000-of-00002.parquet     the split `train`, in two shards
    train/part-1.jsonl, train.jsonl.gz    `train`
    part-1.jsonl, part-2.jsonl            `train`, since no name says anything
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

from im_jax.data.files.card import Split, splits_of_card
from im_jax.errors import DataError
from im_jax.stores import files_below, in_store, readable

_FORMATS: Final = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".parquet": "Parquet",
}
_PACKED: Final = (".gz", ".gzip", ".zst", ".zstd")
_NOT_DATA: Final = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SHARD: Final = re.compile(r"(?P<split>.+?)-(?P<number>\d{5,})-of-(?P<count>\d{5,})")
_WORDS: Final = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test|testing|eval|evaluation",
}
_BY_WORD: Final = {
    split: re.compile(rf"(?:^|[-._ 0-9])(?:{words})(?:$|[-._ 0-9])", re.IGNORECASE)
    for split, words in _WORDS.items()
}
_SHOWN: Final = 8


def files_in(folder: str, field: str, splits: tuple[str, ...]) -> list[str]:
    """The files of a split, by name.

    Args:
        folder: as the user wrote it.
        field: the field of the configuration that names it, for errors.
        splits: the first of these that it has is taken.

    Raises:
        DataError: it has none of them, or does not say which files are meant.
    """
    root = readable(folder)
    try:
        names = sorted(
            path.as_posix()
            for path in files_below(root)
            if not any(part.startswith(".") for part in path.parts)
        )
        card = splits_of_card(root, names)
    except OSError as error:
        raise DataError(f"{field}: {folder!r} cannot be read: {error.strerror or error}") from None
    except DataError as error:
        raise DataError(f"{field}: {folder!r}: {error}") from None
    data = [name for name in names if _format(name) and Path(name).name not in _NOT_DATA]
    chosen = _chosen(card or _splits_by_name(data), splits, _Place(folder, field, names))
    return [_inside(folder, name) for name in chosen]


def _inside(folder: str, name: str) -> str:
    """A file below a folder as the user wrote that: `~` stays."""
    return str((readable(folder) if in_store(folder) else Path(folder)) / name)


class _Place:
    """What errors about a folder begin with."""

    def __init__(self, folder: str, field: str, names: list[str]) -> None:
        self.folder, self.field, self.names = folder, field, names

    def refuse(self, problem: str, advice: str) -> NoReturn:
        raise DataError(f"{self.field}: the folder {self.folder!r} {problem}; {advice}")

    def example(self, name: str) -> str:
        return f"--config.{self.field}={_inside(self.folder, name)}"


def _chosen(found: list[Split], wanted: tuple[str, ...], place: _Place) -> list[str]:
    if not found:
        held = f"only {_listed(place.names)}" if place.names else "nothing"
        known = ", ".join(_FORMATS)
        place.refuse(f"holds no file of records ({held})", f"they end in {known}, with .gz or .zst if packed")
    named = [split for split in found if split.name]
    if named and len(named) < len(found):
        others = _listed([name for split in found if not split.name for name in split.files])
        place.refuse(
            f"has files of {_listed([split.name for split in named])} and others ({others})",
            "name those you want",
        )
    if not named:
        named = [Split(wanted[0], found[0].files)]
    split = next((split for name in wanted for split in named if split.name == name), None)
    if split is None:
        has = _listed([split.name for split in named])
        if place.field == "data.path":
            place.refuse(
                f"has no split {wanted[0]!r}; it has {has}", f"set --config.data.split={named[0].name}"
            )
        place.refuse(
            f"has no split {' or '.join(map(repr, wanted))}; it has {has}", "name the files you want"
        )
    if not split.files:
        place.refuse(f"has no file that its README.md names for {split.name!r}", "copy the folder again")
    _refuse_incomplete(split, place)
    _refuse_several(split, place)
    return split.files


def _splits_by_name(names: Iterable[str]) -> list[Split]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_split_of(name), []).append(name)
    return [Split(split, files) for split, files in found.items()]


def _split_of(name: str) -> str:
    """The split that a name speaks of; empty if of none."""
    *folders, file = name.split("/")
    stem = _stem(file)
    if shard := _SHARD.fullmatch(stem):
        return shard["split"]
    for part in (stem, *reversed(folders)):
        for split, pattern in _BY_WORD.items():
            if pattern.search(part):
                return split
    return ""


def _refuse_incomplete(split: Split, place: _Place) -> None:
    """Stop where a shard is missing: a part of the records would be, without a word."""
    shards = [shard for name in split.files if (shard := _SHARD.fullmatch(_stem(Path(name).name)))]
    for count in {int(shard["count"]) for shard in shards}:
        there = {int(shard["number"]) for shard in shards if int(shard["count"]) == count}
        missing = sorted(set(range(count)) - there)
        if missing:
            place.refuse(
                f"has {len(there)} of {count} shards of {split.name!r}; {missing[0]:05d} is missing",
                "copy it again, or name the files you want",
            )


def _refuse_several(split: Split, place: _Place) -> None:
    """Stop at the same split in several formats or folders: they may be the same records, or other sets."""
    formats = sorted({_format(name) for name in split.files})
    if len(formats) > 1:
        advice = f"name those of one, such as {place.example(f'*{Path(split.files[0]).suffix}')}"
        place.refuse(f"has {split.name!r} as {' and as '.join(formats)}", advice)
    folders = sorted({str(Path(name).parent) for name in split.files})
    if len(folders) > 1 and not split.declared:
        advice = f"name one, such as {place.example(folders[0])}, or several joined by commas"
        place.refuse(f"has {split.name!r} in several folders ({_listed(folders)})", advice)


def _format(name: str) -> str:
    """The format that a name speaks of; empty if of none that is read."""
    path = Path(name)
    path = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return _FORMATS.get(path.suffix.lower(), "")


def _stem(file: str) -> str:
    path = Path(file)
    path = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return path.stem


def _listed(names: Iterable[Any]) -> str:
    shown = [str(name) for name in names]
    return ", ".join([*shown[:_SHOWN], *(["..."] if len(shown) > _SHOWN else [])])
