"""From a configuration to rows of classified tokens: the whole of the data side, in order."""

import functools
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np

from im_jax.config import Config, DataConfig
from im_jax.data.conversation import Conversation
from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import EncodedExample, encode_conversations, stop_tokens
from im_jax.data.jsonl import JsonlSource, split_paths
from im_jax.data.packing import Rows, best_fit_plan, padded_plan
from im_jax.data.sources import Source, make_source
from im_jax.data.statistics import DataReport, collect
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError, DataError

_CHUNK = 1000
"""Conversations encoded at a time: enough for the tokenizer's threads, little enough to hold as text."""


@dataclass(frozen=True)
class Prepared:
    """Everything that the doors need of the data."""

    tokenizer: Tokenizer
    template: Template
    train: EncodedDataset
    heldout: EncodedDataset
    train_rows: Rows
    heldout_rows: Rows
    report: DataReport
    """Counts over the source, examples held out of it included."""
    heldout_report: DataReport | None
    """Counts over `eval.path`, where held-out examples have a file of their own."""

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


def prepare(config: Config, tokenizer: Tokenizer, class_weights: jt.Float32[np.ndarray, " C"]) -> Prepared:
    """Read, encode, check off, split and pack.

    Which examples are kept and held out depends on the data and `data.*` alone, never on the policy, so
    runs that differ in policy see the same rows.

    Args:
        config: a checked configuration.
        tokenizer: the one that `tokenizer.path` names.
        class_weights: weight per token class, for counting examples that train nothing.

    Raises:
        DataError: the data, template or tokenizer cannot be used.
        ConfigError: fields contradict each other.
    """
    template = make_template(config.data.template, tokenizer)
    report = DataReport()

    def encode(source: Source, counts: DataReport) -> list[EncodedExample]:
        return _encode_source(source, counts, template, tokenizer, config.data, class_weights)

    examples = encode(make_source(config.data), report)
    heldout_report = None
    if config.eval.path and config.eval.num_examples:
        heldout_report = DataReport()
        source = JsonlSource(
            split_paths(config.eval.path), config.data.fields, config.data.on_bad_example, field="eval.path"
        )
        heldout = encode(source, heldout_report)[: config.eval.num_examples]
        if not heldout:
            raise DataError(f"eval.path={config.eval.path} has no example that is kept; see the data checks")
    else:
        examples, heldout = _hold_out(examples, config)
    train, held = EncodedDataset.from_examples(examples), EncodedDataset.from_examples(heldout)
    return Prepared(
        tokenizer,
        template,
        train,
        held,
        _rows(train, config.data),
        _rows(held, config.data),
        report,
        heldout_report,
    )


def _encode_source(
    source: Source,
    report: DataReport,
    template: Template,
    tokenizer: Tokenizer,
    data: DataConfig,
    class_weights: jt.Float32[np.ndarray, " C"],
) -> list[EncodedExample]:
    report.skipped.extend(source.skipped)
    kept = []
    for start in range(0, len(source), _CHUNK):
        conversations = [source[i] for i in range(start, min(start + _CHUNK, len(source)))]
        pairs = _encode(conversations, report, template, tokenizer, data)
        kept += collect(pairs, report, class_weights, drop_without_output=data.drop_without_output)
    return kept


def _encode(
    conversations: list[Conversation],
    report: DataReport,
    template: Template,
    tokenizer: Tokenizer,
    data: DataConfig,
) -> list[tuple[Conversation, EncodedExample]]:
    """Encode a chunk; what the template cannot write is a bad example like any other."""
    encode = functools.partial(
        encode_conversations,
        template=template,
        tokenizer=tokenizer,
        max_length=data.max_length,
        truncation=data.truncation,
    )
    try:
        return list(zip(conversations, encode(conversations), strict=True))
    except DataError:
        if data.on_bad_example == "stop":
            raise
    pairs = []
    for conversation in conversations:
        try:
            pairs.append((conversation, encode([conversation])[0]))
        except DataError as error:
            report.skipped.append(str(error))
    return pairs


def _hold_out(
    examples: list[EncodedExample], config: Config
) -> tuple[list[EncodedExample], list[EncodedExample]]:
    """Split off `eval.num_examples` at random by `data.seed`; both parts keep the order of the source."""
    count = config.eval.num_examples
    if 0 < len(examples) <= count:
        raise ConfigError(
            f"eval.num_examples={count} would leave none of the {len(examples)} examples to train on; "
            "lower it, or set eval.path to a file of held-out examples"
        )
    chosen = set(np.random.default_rng(config.data.seed).permutation(len(examples))[:count].tolist())
    train = [example for i, example in enumerate(examples) if i not in chosen]
    return train, [example for i, example in enumerate(examples) if i in chosen]


def _rows(dataset: EncodedDataset, data: DataConfig) -> Rows:
    if data.packing == "none":
        plan = padded_plan(len(dataset))
    else:
        plan = best_fit_plan(dataset.lengths, data.max_length, data.seed)
    return Rows(dataset, plan, data.max_length)
