"""Rewrite tasks as prepared data: training rows, and held-out ones of unseen rules."""

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config, DataConfig
from im_jax.data.prepare import Encoder, Part, Prepared
from im_jax.data.sources import refuse_files
from im_jax.data.statistics import DataReport
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.bulk import BulkEncoder, bulk_encoder
from im_jax.studies.rewrites.examples.rows import RewriteDataset, RewriteRows
from im_jax.studies.rewrites.examples.source import RewriteSource
from im_jax.studies.rewrites.examples.task import RewriteTask, make_tasks
from im_jax.token_classes import NUM_CLASSES, TokenClass

_CHUNK = 1 << 20


def prepare(
    config: Config,
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
    doing: Activity = silent,
) -> Prepared:
    """Training examples, and held-out ones of rules that training never sees.

    Args and raises: as `im_jax.data.prepare.prepare`.
    """
    if config.eval.path:
        raise ConfigError(
            f"eval.path={config.eval.path}, but data.source=rewrites holds out unseen rules; leave it empty"
        )
    refuse_files(config.data)
    template = make_template(config.data.template, tokenizer, config.data.date)
    encoder = Encoder(config.data, template, tokenizer, class_weights, doing)
    with doing("making rules"):
        tasks = make_tasks(config.data.rewrites, config.data.seed)
    held_out = min(config.eval.num_examples, len(tasks["test"]))
    train, report = _part(encoder, "train", tasks["train"], len(tasks["train"]))
    held, heldout_report = _part(encoder, "test", tasks["test"], held_out)
    return encoder.prepared(train, held, report, heldout_report)


def _part(encoder: Encoder, name: str, task: RewriteTask, count: int) -> tuple[Part, DataReport]:
    """The first `count` examples of a task: made when they are read, where a letter is a token."""
    data = encoder.data
    in_bulk = bulk_encoder(task, encoder.template, encoder.tokenizer, data.rewrites.prompt)
    if in_bulk is None:
        source = RewriteSource(task, data.rewrites.prompt, name, count)
        dataset, report = encoder.encode(source)
        return Part.of(dataset, data), report
    part = _part_in_bulk(data, in_bulk, name, task, count)
    return part, _report(task, in_bulk, count, encoder.class_weights)


def _part_in_bulk(data: DataConfig, encoder: BulkEncoder, name: str, task: RewriteTask, count: int) -> Part:
    """Examples and rows of which none is ever stored."""
    if encoder.longest > data.max_length:
        raise ConfigError(
            f"data.max_length={data.max_length} cuts rewrite examples, which have {encoder.longest} tokens; "
            f"set it to {encoder.longest} or more"
        )
    per_row = 1 if data.packing == "none" else data.max_length // encoder.longest
    return Part(
        RewriteDataset(task, encoder, data.rewrites, count, name),
        RewriteRows(task, encoder, count, data.max_length, per_row, name),
    )


def _report(
    task: RewriteTask, encoder: BulkEncoder, count: int, class_weights: jt.Float32[np.ndarray, " C"]
) -> DataReport:
    """Counts over all examples, from one of each length: they have the same classes."""
    report = DataReport()
    for length, examples in _numbers_by_length(task, count).items():
        classes = encoder.mould(length).classes
        weights = class_weights[classes]
        weights[:1] = 0  # nothing predicts the first token
        has_target = bool((weights > 0).any())
        report.trained += examples * has_target
        report.without_target += examples * (not has_target)
        report.stop_trained += examples * bool((weights[classes == TokenClass.LAST_STOP] > 0).any())
        report.tokens += examples * np.bincount(classes, minlength=NUM_CLASSES)
        instruction, answer = encoder.sample(length).messages
        report.instruction_words += examples * (len(instruction.text.split()) + 1)
        report.output_words += examples * (len(answer.text.split()) + 1)
    return report


def _numbers_by_length(task: RewriteTask, count: int) -> dict[int, int]:
    """How many of the first `count` examples have an answer of each length."""
    no_ops = sum(
        int(np.count_nonzero(task.is_no_op(np.arange(start, min(start + _CHUNK, count)))))
        for start in range(0, count, _CHUNK)
    )
    rewritten = task.input_length - task.left_length + task.right_length
    numbers = {rewritten: 0, task.input_length: 0}
    numbers[rewritten] += count - no_ops
    numbers[task.input_length] += no_ops
    return {length: number for length, number in numbers.items() if number}
