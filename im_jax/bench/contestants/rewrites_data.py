"""Batches and prompts of the rewrites benchmark, made as `im_jax.train` makes them: the same for all."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch
from im_jax.bench.case import SEED, Case
from im_jax.bench.sizes import RewriteSizes, SmallSizes
from im_jax.config import Config, with_overrides
from im_jax.data.pipeline import train_iterator
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import make_policy
from im_jax.studies.registry import prepare
from im_jax.studies.rewrites import experiments
from im_jax.studies.rewrites.examples import Examples, make_tasks
from im_jax.studies.rewrites.examples.bulk import BulkEncoder

TOKENIZER: Final = make_tokenizer("bytes")
PREPARED: Final = 10
"""Batches that are made before the time is taken, and read again and again."""
_WORK_OF_CALL: Final = 250_000_000
"""Tokens by layers by the square of the width: about a second on two cores."""


def _lengths(case: Case) -> dict[str, Any]:
    sizes = RewriteSizes(*case.shape)
    return experiments.lengths("cpu", sizes.letters, sizes.side)


def tokens_of(case: Case) -> int:
    """L: tokens of an example; all are equally long."""
    return int(_lengths(case)["data.max_length"])


def positions_of(case: Case) -> int:
    """Rows of the table of positions: a few more than tokens, as the tier `cpu` has them."""
    return int(_lengths(case)["model.max_positions"])


def answer_tokens(case: Case) -> int:
    """Tokens of an answer, its end included: what is decoded, and what carries loss."""
    return RewriteSizes(*case.shape).letters + 1


def times_of(case: Case) -> int:
    """Steps, or batches of answers, in a call: one of a small model takes some milliseconds."""
    sizes = SmallSizes(*case.model)
    work = case.shape[0] * tokens_of(case) * sizes.layers * sizes.embed**2
    return min(PREPARED, max(1, _WORK_OF_CALL // work))


def config_of(case: Case) -> Config:
    """The tier `cpu` with the case's sizes of data."""
    config = with_overrides(experiments.base("cpu"), _lengths(case))
    batch = case.shape[0]
    config.data.rewrites.num_test_examples = PREPARED * batch
    config.train.batch_size = batch
    return config


def batches(case: Case) -> Iterator[Batch]:
    """Endless training batches [B, L], as NumPy arrays."""
    config = config_of(case)
    data = prepare(config, TOKENIZER, make_policy(config.loss).table())
    return train_iterator(
        data.train_rows,
        seed=SEED,
        batch_size=config.train.batch_size,
        local=range(config.train.batch_size),
        workers=config.data.workers,
    )


def first_batches(case: Case) -> list[Batch]:
    """The first of `batches`."""
    return list(itertools.islice(batches(case), PREPARED))


class Prompts:
    """Batches of prompts of unseen rules, one after the other and then again the first."""

    def __init__(self, case: Case) -> None:
        config = config_of(case)
        self._batch = case.shape[0]
        self.task = make_tasks(config.data.rewrites, config.data.seed)["test"]
        self.template = make_template(config.data.template, TOKENIZER)
        self._encoder = BulkEncoder(self.task, self.template, TOKENIZER, config.data.rewrites.prompt)

    def examples(self, number: int) -> Examples:
        """The examples of a batch."""
        first = number % PREPARED * self._batch
        return self.task.examples(np.arange(first, first + self._batch))

    def encode(self, examples: Examples) -> jt.Int32[np.ndarray, "B P"]:
        """Their prompts, all of one length."""
        return self._encoder.encode_prompts(examples)
