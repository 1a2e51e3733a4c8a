"""From a configuration to rows of classified tokens: the whole of the data side, in order."""

import dataclasses
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np

from im_jax.config import Config, DataConfig
from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import EncodedExample, encode_conversations
from im_jax.data.packing import Rows, best_fit_plan, padded_plan
from im_jax.data.sources import Source, make_source
from im_jax.data.statistics import DataReport, collect
from im_jax.data.templates import Template, make_template
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import ConfigError

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
    """Counts over the source, held-out examples included."""


def prepare(config: Config, class_weights: jt.Float32[np.ndarray, " C"]) -> Prepared:
    """Read, encode, check off, split and pack.

    Which examples are kept and held out depends on the data and `data.*` alone, never on the policy, so
    runs that differ in policy see the same rows.

    Args:
        config: a checked configuration.
        class_weights: weight per token class, for counting examples that train nothing.

    Raises:
        DataError: the data, template or tokenizer cannot be used.
        ConfigError: fields contradict each other.
    """
    tokenizer = make_tokenizer(config.tokenizer.path)
    template = make_template(config.data.template, tokenizer)
    report = DataReport()

    def encode(source: Source, counts: DataReport) -> list[EncodedExample]:
        return _encode_source(source, counts, template, tokenizer, config.data, class_weights)

    examples = encode(make_source(config.data), report)
    if config.eval.path and config.eval.num_examples:
        heldout = encode(make_source(_heldout_source(config)), DataReport())[: config.eval.num_examples]
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
        encoded = encode_conversations(
            conversations, template, tokenizer, max_length=data.max_length, truncation=data.truncation
        )
        pairs = list(zip(conversations, encoded, strict=True))
        kept += collect(pairs, report, class_weights, drop_without_output=data.drop_without_output)
    return kept


def _heldout_source(config: Config) -> DataConfig:
    return dataclasses.replace(config.data, source="jsonl", path=config.eval.path)


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
