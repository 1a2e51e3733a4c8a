"""From a configuration to rows of classified tokens: the whole of the data side, in order."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config, DataConfig
from im_jax.data.dataset import Dataset, EncodedDataset
from im_jax.data.duplicates.finding import DuplicateReport
from im_jax.data.entries import SourceEntry, source_entries
from im_jax.data.files import File, chunks
from im_jax.data.first_fingerprint import first_fingerprint
from im_jax.data.packing import Plan, Rows, RowSource, padded_plan
from im_jax.data.recipes.reading import recipe_chunks
from im_jax.data.recipes.recipe import Recipe
from im_jax.data.records import NameCheck
from im_jax.data.selected import SelectedDataset
from im_jax.data.selection import Pool, Share, select
from im_jax.data.sources import Source, heldout_files, jsonl_files, make_source, tfds_split
from im_jax.data.statistics import DataReport, length_ratio
from im_jax.data.stops import stop_tokens
from im_jax.data.store.cache import cache_folder
from im_jax.data.store.chunk import ChunkEncoder, Job, chunks_of
from im_jax.data.store.counts import joined_counts
from im_jax.data.store.encoding import encode_all
from im_jax.data.store.joining import InMemory
from im_jax.data.store.plans import kept_plan
from im_jax.data.store.sets import Keep, RecordFiles, encoded_set
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import Tokenizer, tokenizer_path
from im_jax.errors import DataError


class StoredSet(NamedTuple):
    """A set of encoded examples in the cache."""

    place: pathlib.Path
    examples: int
    tokens: int
    is_new: bool
    """Whether it was encoded now."""


@dataclass(frozen=True)
class Prepared:
    """Everything that the doors need of the data."""

    tokenizer: Tokenizer
    template: Template
    train: Dataset
    heldout: Dataset
    train_rows: RowSource
    heldout_rows: RowSource
    report: DataReport
    """Counts over the source, examples held out of it included."""
    heldout_report: DataReport | None
    """Counts over held-out examples that are not from the source: of `eval.path`, or of unseen rules."""
    duplicates: DuplicateReport | None = None
    """What is in the data more than once; None where that was not looked for."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """What became of each source of a mixture."""
    heldout_by_source: Mapping[str, range] = field(default_factory=dict)
    """Which of the held-out rows are of each source of a mixture."""
    notes: Sequence[str] = ()
    """What a user should know of where examples are kept."""
    stored: Sequence[StoredSet] = ()
    """The sets that are kept, of all sources and of held-out examples."""

    def fingerprint(self) -> str:
        """Changes with any example that is trained or evaluated on."""
        return f"{self.train.fingerprint()}-{self.heldout.fingerprint()}"

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Whether a fingerprint is of these examples: this version's, or as before they had digests."""
        if fingerprint == self.fingerprint():
            return True
        return fingerprint == f"{first_fingerprint(self.train)}-{first_fingerprint(self.heldout)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the counts of the report, by source too, of what is trained on, and duplicates."""
        counts = self.report.as_dict()
        if isinstance(self.train, SelectedDataset):
            words = (int(self.train.column(name).sum()) for name in ("instruction_words", "output_words"))
            ratio = length_ratio(*words)
            counts["trained"] = {"examples": len(self.train), "instruction_output_ratio_words": ratio}
        if self.shares:
            counts["sources"] = {name: share.as_dict() for name, share in self.shares.items()}
        if self.duplicates is not None:
            counts["duplicates"] = self.duplicates.as_dict()
        return counts

    def summary(self) -> str:
        """A few lines for a reader."""
        lines = [self.report.summary("data")]
        lines += [share.line(name) for name, share in self.shares.items()]
        if self.duplicates is not None:
            lines += self.duplicates.lines()
        if self.heldout_report is not None:
            lines.append(self.heldout_report.summary("held-out data"))
        stop = stop_tokens(self.template, self.tokenizer)
        if len(stop) > 1:
            text = self.tokenizer.decode(stop, skip_special=False)
            lines.append(f"  note: the stop {text!r} is {len(stop)} tokens of this tokenizer, not one")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def prepare(
    config: Config,
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
    doing: Activity = silent,
    keep: Keep = Keep.WORTHWHILE,
) -> Prepared:
    """Read, encode, check off, split and pack. `im_jax.studies.registry` also knows the sources of studies.

    Which examples are kept and held out depends on the data and `data.*` alone, never on the policy, so
    runs that differ in policy see the same rows.

    Args:
        config: a checked configuration.
        tokenizer: the one that `tokenizer.path` names.
        class_weights: weight per token class, for counting examples that train nothing.
        doing: shows what takes long.
        keep: whether small sets are written to the cache too.

    Raises:
        DataError: the data, template or tokenizer cannot be used.
        ConfigError: fields contradict each other.
    """
    template = make_template(config.data.template, tokenizer, config.data.date)
    encoder = Encoder(config.data, template, tokenizer, class_weights, doing, tokenizer_path(config), keep)
    names = NameCheck(config.data.fields) if config.data.mixture else None
    pools = [
        Pool(entry.name, *encoder.encode_entry(entry, names), entry.amount)
        for entry in source_entries(config.data)
    ]
    if names is not None:
        names.refuse_unknown("data.mixture")
    heldout = heldout_report = None
    if config.eval.path and config.eval.num_examples:
        files = heldout_files(config.eval.path, config.data)
        kept, heldout_report = encoder.encode_files(files, "eval.path")
        heldout = SelectedDataset.of([kept]).take(np.arange(min(len(kept), config.eval.num_examples)))
        if not len(heldout):
            raise DataError(f"eval.path={config.eval.path} has no example that is kept; see the data checks")
    selection = select(pools, heldout, config, tokenizer, doing)
    held, by_source = held_out_part(selection.heldout, config.data)
    report = joined_counts([pool.report for pool in pools])
    return dataclasses.replace(
        encoder.prepared(Part.of(selection.train, config.data), held, report, heldout_report),
        duplicates=selection.duplicates,
        shares=selection.shares,
        heldout_by_source=by_source,
    )


class Part(NamedTuple):
    """Training or held-out examples, and their rows."""

    dataset: Dataset
    rows: RowSource

    @classmethod
    def of(cls, dataset: Dataset, data: DataConfig) -> "Part":
        """Examples packed as `data.packing` says."""
        return cls(dataset, Rows(dataset, plan_of(dataset, data), data.max_length))


def plan_of(dataset: Dataset, data: DataConfig) -> Plan:
    """Which examples share a row, as `data.packing` says."""
    if data.packing == "none":
        return padded_plan(len(dataset))
    return kept_plan(dataset.lengths, data.max_length, data.seed, cache_folder(data.cache))


def held_out_part(dataset: SelectedDataset, data: DataConfig) -> tuple[Part, dict[str, range]]:
    """Held-out examples as rows, and which rows are of each source of a mixture: they share none."""
    if not dataset.is_mixture:
        return Part.of(dataset, data), {}
    plans: list[Plan] = []
    rows: dict[str, range] = {}
    before = 0
    for at, name in enumerate(dataset.sources):
        numbers = np.flatnonzero(dataset.source == at)
        plans.append(plan_of(dataset.take(numbers), data).of(numbers))
        rows[name] = range(before, before + len(plans[-1]))
        before = rows[name].stop
    return Part(dataset, Rows(dataset, Plan.joined(plans), data.max_length)), rows


@dataclass(frozen=True)
class Encoder:
    """From the examples of a source to encoded ones that are kept, and counts of all."""

    data: DataConfig
    template: Template
    tokenizer: Tokenizer
    class_weights: jt.Float32[np.ndarray, " C"]
    doing: Activity = silent
    """Shows what takes long."""
    tokenizer_path: str = ""
    """From which other processes load the tokenizer; only sources that are made here need none."""
    keep: Keep = Keep.WORTHWHILE
    """Whether small sets are written to the cache too."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of where examples are kept: of all sources."""
    stored: list[StoredSet] = field(default_factory=list)
    """Where they are kept: of all sources."""

    def encode(self, source: Source) -> tuple[EncodedDataset, DataReport]:
        """Encode a source whose conversations are made, in this process."""
        joined = InMemory()
        totals = encode_all(chunks_of(source), self._here(), None, joined.add, self.doing, len(source))
        dataset, report = joined.finish(), totals.report
        report.skipped[:0] = source.skipped
        report.malformed += len(source.skipped)
        report.left_out_by_turns.update(source.left_out)
        report.count_targets(dataset, self.class_weights)
        return dataset, report

    def encode_entry(
        self, entry: SourceEntry, names: NameCheck | None = None
    ) -> tuple[EncodedDataset, DataReport]:
        """Encode a source that a configuration asks for, alone or in a mixture.

        `names` gathers which names in `data.fields` are fields of any source of a mixture.
        """
        if entry.recipe is not None:
            names = None  # it knows its fields
        alone = dataclasses.replace(self, data=entry.data)
        if entry.data.source == "jsonl":
            files = jsonl_files(entry.data, entry.field)
            return alone.encode_files(files, entry.field, entry.recipe, entry.reading, names)
        if entry.data.source == "tfds":
            with self.doing("opening the data set"):
                split = tfds_split(entry.data)
            said = f"tfds, {split.place}"
            read = RecordFiles(split.paths, split.chunks, split.place, said, split.size, names)
            return alone._encode_records(read)
        with self.doing("reading examples"):
            source: Source = make_source(entry.data)
        return alone.encode(source)

    def encode_files(
        self,
        files: Sequence[File],
        field: str,
        recipe: Recipe | None = None,
        reading: str = "",
        names: NameCheck | None = None,
    ) -> tuple[EncodedDataset, DataReport]:
        """Encode the records of files, in several processes where there are many.

        Args:
            files: in order.
            field: the field of the configuration that names them, for errors.
            recipe: what makes conversations of the records, if it is one's.
            reading: names the recipe as it is asked for, with its version.
            names: see `encode_entry`.
        """
        read = (
            functools.partial(chunks, files, field)
            if recipe is None
            else functools.partial(recipe_chunks, recipe, files, field)
        )
        paths = tuple(file.path for file in files)
        return self._encode_records(RecordFiles(paths, read, ", ".join(paths), reading, None, names))

    def _encode_records(self, files: RecordFiles) -> tuple[EncodedDataset, DataReport]:
        job = Job(self.data, self.tokenizer_path)
        found = encoded_set(files, self._here(), job, self.doing, self.keep)
        self.notes.extend(found.notes)
        dataset, report = found.dataset, found.report
        if found.place is not None:
            tokens = int(dataset.lengths.sum(dtype=np.int64))
            self.stored.append(StoredSet(found.place, len(dataset), tokens, found.is_new))
        report.count_targets(dataset, self.class_weights)
        return dataset, report

    def _here(self) -> ChunkEncoder:
        return ChunkEncoder(self.data, self.template, self.tokenizer)

    def prepared(
        self, train: Part, held: Part, report: DataReport, heldout_report: DataReport | None
    ) -> Prepared:
        """What the doors need, of parts that were encoded here."""
        return Prepared(
            self.tokenizer,
            self.template,
            train.dataset,
            held.dataset,
            train.rows,
            held.rows,
            report,
            heldout_report,
            notes=tuple(self.notes),
            stored=tuple(self.stored),
        )
