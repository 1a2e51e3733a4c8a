"""A source encoded chunk by chunk, in this process or in several, into whatever takes the examples."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from im_jax.activity import Activity, Unit
from im_jax.config import DataConfig
from im_jax.data.dataset import EncodedDataset
from im_jax.data.records import NameCheck
from im_jax.data.records.bad_examples import refuse_nothing
from im_jax.data.statistics import DataReport
from im_jax.data.store.chunk import AnyChunk, ChunkEncoder, Conversations, EncodedChunk, Job
from im_jax.data.store.counts import add_counts
from im_jax.data.store.processes import encoded_by_processes, usual_count
from im_jax.errors import DataError
from im_jax.text import counted

_HERE: Final = 4
"""Chunks that are encoded sooner than processes are started and have loaded a tokenizer."""


class Totals:
    """What is known of a source when all of it is encoded."""

    def __init__(self, data: DataConfig) -> None:
        self.names = NameCheck(data.fields)
        self.report = DataReport()
        self.usable = 0

    def add(self, chunk: EncodedChunk) -> None:
        """Count what comes next."""
        add_counts(self.report, chunk.report)
        self.names.merge(chunk.names)
        self.usable += chunk.usable

    def refuse_nothing(self, place: str) -> None:
        """Stop where no record of a source is usable. Raises `DataError`, naming the place."""
        report = self.report
        refuse_nothing(self.usable, report.malformed, report.skipped, report.left_out_by_turns, place)


def encode_all(
    chunks: Iterable[AnyChunk],
    encoder: ChunkEncoder,
    job: Job | None,
    take: Callable[[EncodedDataset], None],
    doing: Activity,
    size: int | None = None,
    unit: Unit = Unit.THINGS,
) -> Totals:
    """Encode all chunks.

    Args:
        chunks: of the source, in order.
        encoder: for this process.
        job: for others; None: all is encoded here.
        take: is given the kept examples of each chunk, in order.
        doing: shows what takes long.
        size: how much all chunks are, for a bar: conversations, or bytes as they are stored.
        unit: which of the two.

    Raises:
        DataError: of the first record, in order, that cannot be used; or of a file.
        ProcessError: a process was killed.
    """
    totals = Totals(encoder.data)
    count = encoder.data.encoders or usual_count()
    what = "encoding examples"
    if size is not None and unit is Unit.THINGS:
        what = f"encoding {counted(size, 'example')}"
    sizes: collections.deque[int] = collections.deque()  # of the chunks that are not done yet
    with doing(what, size, unit) as advance:
        for encoded in _encoded(_noted(chunks, sizes), encoder, job, count):
            take(encoded.dataset)
            totals.add(encoded)
            advance(sizes.popleft())
    return totals


def _noted(chunks: Iterable[AnyChunk], sizes: "collections.deque[int]") -> Iterator[AnyChunk]:
    for chunk in chunks:
        sizes.append(len(chunk) if isinstance(chunk, Conversations) else chunk.stored)
        yield chunk


def _encoded(
    chunks: Iterable[AnyChunk], encoder: ChunkEncoder, job: Job | None, count: int
) -> Iterator[EncodedChunk]:
    coming = iter(chunks)
    first: list[AnyChunk] = []
    error = None
    try:
        for chunk in itertools.islice(coming, _HERE + 1):
            first.append(chunk)
    except DataError as wrong:  # of a file: records before it come first
        error = wrong
    if error is None and job is not None and count > 1 and len(first) > _HERE:
        yield from encoded_by_processes(job, itertools.chain(first, coming), count)
        return
    for chunk in itertools.chain(first, () if error else coming):
        yield encoder.encode(chunk)
    if error is not None:
        raise error
