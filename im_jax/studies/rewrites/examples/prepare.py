"""Rewrite tasks as prepared data: training rows, and held-out ones of unseen rules."""

import jaxtyping as jt
import numpy as np

from im_jax.config import Config
from im_jax.data.statistics import DataReport
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.bulk import BulkEncoder, bulk_encoder
from im_jax.studies.rewrites.examples.rows import RewriteDataset, RewriteRows
from im_jax.studies.rewrites.examples.task import RewriteTask
from im_jax.token_classes import NUM_CLASSES, TokenClass

_CHUNK = 1 << 20


def bulk_parts(
    config: Config,
    task: RewriteTask,
    name: str,
    count: int,
    template: Template,
    tokenizer: Tokenizer,
    class_weights: jt.Float32[np.ndarray, " C"],
) -> tuple[RewriteDataset, RewriteRows, DataReport] | None:
    """The first `count` examples of a task, none of which is ever stored; None where that cannot be.

    Raises:
        ConfigError: a row does not hold an example, or a row cannot be cut as asked.
    """
    data = config.data
    encoder = bulk_encoder(task, template, tokenizer, data.rewrites.prompt)
    if encoder is None:
        return None
    if encoder.longest > data.max_length:
        raise ConfigError(
            f"data.max_length={data.max_length} cuts rewrite examples, which have {encoder.longest} tokens; "
            f"set it to {encoder.longest} or more"
        )
    per_row = 1 if data.packing == "none" else data.max_length // encoder.longest
    return (
        RewriteDataset(task, encoder, data.rewrites, count, name),
        RewriteRows(task, encoder, count, data.max_length, per_row),
        _report(task, encoder, count, class_weights),
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
