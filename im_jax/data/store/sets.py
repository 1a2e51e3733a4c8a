"""A source as a set of encoded examples: found on disk, or encoded, and kept where it is worth that."""

import dataclasses
import enum
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from im_jax.activity import Activity, Unit
from im_jax.config import DataConfig
from im_jax.data.dataset import EncodedDataset
from im_jax.data.files import Chunk
from im_jax.data.ids import Ids
from im_jax.data.records import NameCheck
from im_jax.data.statistics import DataReport
from im_jax.data.store.cache import Facts, Found, KeptSet, NotWritable, Take, cache_folder
from im_jax.data.store.chunk import ChunkEncoder, Job
from im_jax.data.store.contents import contents_of, refuse_changed
from im_jax.data.store.counts import counts_from_json, counts_to_json
from im_jax.data.store.encoding import encode_all
from im_jax.data.store.joining import InMemory
from im_jax.data.store.key import key_of
from im_jax.errors import DataError, StorageError

_KEPT: Final = 2
"""Chunks from which on a set is kept: one is encoded sooner than another process would notice."""


class Keep(enum.Enum):
    """Which sets are written to the cache."""

    WORTHWHILE = "those that take longer to encode than to look for"
    ALL = "all, or it is an error: they are made for another process"


class EncodedSet(NamedTuple):
    """The kept examples of a source, and counts of all."""

    dataset: EncodedDataset
    report: DataReport
    """But for what depends on a policy."""
    notes: tuple[str, ...] = ()
    """What a user should know of where they are kept."""
    place: pathlib.Path | None = None
    """Where they are kept; None: in memory."""
    is_new: bool = True
    """Whether they were encoded now."""


@dataclass(frozen=True)
class RecordFiles:
    """Files, and how their records are read."""

    paths: tuple[str, ...]
    """All files that decide what the records are, in order, as the user wrote them."""
    chunks: Callable[[], Iterator[Chunk]]
    """Their records, from the first on."""
    place: str
    """What is read, for errors."""
    reading: str = ""
    """What decides, beside the files and `data`, what records become: changes with every such choice."""
    size: int | None = None
    """About how many bytes its chunks are, where that is not the size of all the files."""
    names: NameCheck | None = None
    """Gathers which names in `data.fields` any source of a mixture has; None: this is the only source."""


def encoded_set(
    files: RecordFiles, encoder: ChunkEncoder, job: Job, doing: Activity, keep: Keep = Keep.WORTHWHILE
) -> EncodedSet:
    """The examples of some files: mapped from the cache, or encoded now.

    Args:
        files: what is read.
        encoder: for this process.
        job: for others; it says the same.
        doing: shows what takes long.
        keep: whether small ones are kept too.

    Raises:
        DataError: the first record in order that cannot be used, a file that cannot be read, or one that
            changes while it is read.
        StorageError: there is no room in the cache; or it cannot be written, where all sets are to be kept.
    """
    cache = cache_folder(job.data.cache)
    with doing("looking for encoded examples"):
        read = [contents_of(path, cache) for path in files.paths]
        contents = [each for each in read if each is not None]
        whole = len(contents) == len(read)  # what cannot be read is told by whoever reads its records
        key = key_of(job.data, job.tokenizer_path, contents, cache, files.reading) if whole else None
        kept = None if cache is None or key is None else KeptSet(cache, key)
        found = None if kept is None else kept.look_up()
    if found is not None:
        return _opened(found, files, job.data)._replace(is_new=False)
    made_here = False
    chunks, is_small = _begun(files.chunks(), 1 if keep is Keep.ALL else _KEPT)

    def make(take: Take) -> Facts:
        nonlocal made_here
        made_here = True
        size = sum(each.signature.size for each in contents) if files.size is None else files.size
        totals = encode_all(chunks, encoder, job, take, doing, size, Unit.BYTES)
        totals.refuse_nothing(files.place)
        refuse_changed(contents)
        counts, names = counts_to_json(totals.report), totals.names.to_json()
        asked = {
            "template": job.data.template,
            "tokenizer": job.tokenizer_path,
            "max_length": job.data.max_length,
        }
        return {"counts": counts, "names": names, "paths": files.paths, "asked": asked}

    if kept is None or is_small:
        found = _in_memory(make)
        if keep is Keep.ALL:
            raise StorageError(f"{files.place}: cannot be kept, since it is not in files that can be mapped")
        return _opened(found, files, job.data)
    try:
        found = kept.find_or_make(make, doing)
    except NotWritable as error:
        if keep is Keep.ALL:
            raise StorageError(f"{error}; set --config.data.cache to another folder") from None
        note = f"the encoded examples are not kept, since {error}; set --config.data.cache to another folder"
        found = _in_memory(make)._replace(notes=(note,))
    return _opened(found, files, job.data)._replace(is_new=made_here)


def _begun(chunks: Iterator[Chunk], enough: int) -> tuple[Iterable[Chunk], bool]:
    """The same chunks, and whether they are too few to be kept."""
    first: list[Chunk] = []
    try:
        for chunk in itertools.islice(chunks, enough):
            first.append(chunk)
    except DataError as error:
        return itertools.chain(first, _failing(error)), True
    return itertools.chain(first, chunks), len(first) < enough


def _failing(error: DataError) -> Iterator[Chunk]:
    raise error
    yield


def _in_memory(make: Callable[[Take], Facts]) -> Found:
    joined = InMemory()
    facts = make(joined.add)
    return Found(joined.finish(), facts)


def _opened(found: Found, files: RecordFiles, data: DataConfig) -> EncodedSet:
    """A set, whose files may be called otherwise now than when it was made."""
    names = NameCheck(data.fields) if files.names is None else files.names
    names.add_json(found.facts["names"])
    if files.names is None:
        names.refuse_unknown(files.place)
    dataset, report = found.dataset, counts_from_json(found.facts["counts"])
    new_names = {
        f"{old}:": f"{new}:" for old, new in zip(found.facts["paths"], files.paths, strict=True) if old != new
    }
    if new_names:
        dataset = dataclasses.replace(dataset, ids=_renamed(dataset.ids, new_names))
        report.skipped = [_with_new_name(message, new_names) for message in report.skipped]
    return EncodedSet(dataset, report, found.notes, found.place)


def _renamed(ids: Ids, new_names: dict[str, str]) -> Ids:
    """The same ids, those that are a place in a file with the file's new name."""
    prefixes = [
        _with_new_name(ids.text[start:end].tobytes().decode(errors="surrogatepass"), new_names)
        for start, end in itertools.pairwise(ids.bounds.tolist())
    ]
    encoded = [prefix.encode(errors="surrogatepass") for prefix in prefixes]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Ids(np.frombuffer(b"".join(encoded), np.uint8), bounds, ids.prefixes, ids.numbers)


def _with_new_name(text: str, new_names: dict[str, str]) -> str:
    for old, new in new_names.items():
        if text.startswith(old):
            return new + text.removeprefix(old)
    return text
