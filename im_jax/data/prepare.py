"""From a configuration to rows of classified tokens: the whole of the data side, in order."""

import functools
from dataclasses import dataclass
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config, DataConfig
from im_jax.data.dataset import Dataset, DatasetBuilder, EncodedDataset
from im_jax.data.duplicates.digests import digests
from im_jax.data.encoding import EncodedExample, encode_conversations, stop_tokens
from im_jax.data.files.location import split_paths
from im_jax.data.jsonl import JsonlSource
from im_jax.data.packing import Rows, RowSource, best_fit_plan, padded_plan
from im_jax.data.records.conversation import Conversation
from im_jax.data.sources import Source, make_source
from im_jax.data.statistics import DataReport, measures
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.text import counted

_CHUNK: Final = 1000
"""Conversations encoded at a time: enough for the tokenizer's threads, little enough to hold as text."""


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

    def fingerprint(self) -> str:
        """Changes with any example that is trained or evaluated on."""
        return f"{self.train.fingerprint()}-{self.heldout.fingerprint()}"

    def summary(self) -> str:
        """A few lines for a reader."""
        lines = [self.report.summary("data")]
        if self.heldout_report is not None:
            lines.append(self.heldout_report.summary("held-out data"))
        stop = stop_tokens(self.template, self.tokenizer)
        if len(stop) > 1:
            text = self.tokenizer.decode(stop, skip_special=False)
            lines.append(f"  note: the stop {text!r} is {len(stop)} tokens of this tokenizer, not one")
        return "\n".join(lines)


def prepare(
    config: Config,
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
    doing: Activity = silent,
) -> Prepared:
    """Read, encode, check off, split and pack. `im_jax.studies.registry` also knows the sources of studies.

    Which examples are kept and held out depends on the data and `data.*` alone, never on the policy, so
    runs that differ in policy see the same rows.

    Args:
        config: a checked configuration.
        tokenizer: the one that `tokenizer.path` names.
        class_weights: weight per token class, for counting examples that train nothing.
        doing: shows what takes long.

    Raises:
        DataError: the data, template or tokenizer cannot be used.
        ConfigError: fields contradict each other.
    """
    template = make_template(config.data.template, tokenizer)
    encoder = Encoder(config.data, template, tokenizer, class_weights, doing)
    with doing("reading examples"):
        source: Source = make_source(config.data)
    examples, report = encoder.encode(source)
    heldout_report = None
    if config.eval.path and config.eval.num_examples:
        source = JsonlSource(
            split_paths(config.eval.path), config.data.fields, config.data.on_bad_example, field="eval.path"
        )
        heldout, heldout_report = encoder.encode(source)
        heldout = heldout.take(np.arange(len(heldout))[: config.eval.num_examples])
        if not len(heldout):
            raise DataError(f"eval.path={config.eval.path} has no example that is kept; see the data checks")
    else:
        examples, heldout = _hold_out(examples, config)
    train, held = (Part.of(part, config.data) for part in (examples, heldout))
    return encoder.prepared(train, held, report, heldout_report)


class Part(NamedTuple):
    """Training or held-out examples, and their rows."""

    dataset: Dataset
    rows: RowSource

    @classmethod
    def of(cls, dataset: Dataset, data: DataConfig) -> "Part":
        """Examples packed as `data.packing` says."""
        if data.packing == "none":
            plan = padded_plan(len(dataset))
        else:
            plan = best_fit_plan(dataset.lengths, data.max_length, data.seed)
        return cls(dataset, Rows(dataset, plan, data.max_length))


@dataclass(frozen=True)
class Encoder:
    """From the examples of a source to encoded ones that are kept, and counts of all."""

    data: DataConfig
    template: Template
    tokenizer: Tokenizer
    class_weights: jt.Float32[np.ndarray, " C"]
    doing: Activity = silent
    """Shows what takes long."""

    def encode(self, source: Source) -> tuple[EncodedDataset, DataReport]:
        """Encode a source, some conversations at a time."""
        report = DataReport(skipped=list(source.skipped))
        builder = DatasetBuilder(self.data.max_length)
        with self.doing(f"encoding {counted(len(source), 'example')}", len(source)) as advance:
            for start in range(0, len(source), _CHUNK):
                conversations = [source[i] for i in range(start, min(start + _CHUNK, len(source)))]
                for conversation in conversations:
                    report.unread.update(conversation.unread)
                for conversation, example in self._encode(conversations, report):
                    measured = measures(conversation, example)
                    if example.dropped:
                        report.too_long += 1
                        report.leave_out(measured)
                    elif self.data.drop_without_output and not example.has_output:
                        report.without_output += 1
                        report.leave_out(measured)
                    else:
                        report.add(example, measured)
                        builder.add(example, measured | digests(conversation)._asdict())
                advance(len(conversations))
        dataset = builder.finish()
        report.count_targets(dataset, self.class_weights)
        return dataset, report

    def _encode(
        self, conversations: list[Conversation], report: DataReport
    ) -> list[tuple[Conversation, EncodedExample]]:
        """Encode a chunk; what the template cannot write is a bad example like any other."""
        encode = functools.partial(
            encode_conversations,
            template=self.template,
            tokenizer=self.tokenizer,
            max_length=self.data.max_length,
            truncation=self.data.truncation,
        )
        try:
            return list(zip(conversations, encode(conversations), strict=True))
        except DataError:
            if self.data.on_bad_example == "stop":
                raise
        pairs = []
        for conversation in conversations:
            try:
                pairs.append((conversation, encode([conversation])[0]))
            except DataError as error:
                report.skipped.append(str(error))
        return pairs

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
        )


def _hold_out(examples: EncodedDataset, config: Config) -> tuple[EncodedDataset, EncodedDataset]:
    """Split off `eval.num_examples` at random by `data.seed`; both parts keep the order of the source."""
    count = config.eval.num_examples
    if 0 < len(examples) <= count:
        raise ConfigError(
            f"eval.num_examples={count} would leave none of {counted(len(examples), 'example')} to train on; "
            "lower it, or set eval.path to a file of held-out examples"
        )
    held = np.zeros(len(examples), bool)
    held[np.random.default_rng(config.data.seed).permutation(len(examples))[:count]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))
