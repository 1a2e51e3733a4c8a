"""Rewrite tasks on the way that all data takes: made in bulk, they are what they are one by one."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from im_jax.batch import Batch
from im_jax.config import Config, DataConfig, EvalConfig, LossConfig
from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import encode_conversation, encode_prompt
from im_jax.data.pipeline import eval_batches, train_iterator
from im_jax.data.prepare import Prepared
from im_jax.data.statistics import DataReport
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy
from im_jax.studies.registry import prepare
from im_jax.studies.rewrites.examples import RewriteSource, make_tasks
from im_jax.studies.rewrites.examples.bulk import bulk_encoder
from im_jax.studies.rewrites.examples.rows import RewriteDataset
from im_jax.token_classes import TokenClass
from tests.studies.rewrites.examples.test_task import small

PROMPTS = [
    "{left}>{right}:{input}",
    "In {input}, replace {left} (the first one) by {right}.",
    "{input}\n{left} becomes {right}; never {left}",
]


def config_of(data: dict[str, Any] | None = None, policy: str = "it", **rewrites: Any) -> Config:
    fields = {"source": "rewrites", "template": "plain", "max_length": 96, "packing": "none"} | (data or {})
    return Config(
        data=DataConfig(rewrites=small(**rewrites), **fields),
        eval=EvalConfig(num_examples=50),
        loss=LossConfig(policy=policy),
    )


def prepared(config: Config) -> Prepared:
    return prepare(config, make_tokenizer(tokenizer_path(config)), make_policy(config.loss).table())


@pytest.mark.parametrize("template", ["plain", "tulu", "chatml", "llama3", "alpaca"])
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("no_ops", [0.0, 0.5])
def test_bulk_encoding_is_encoding_one_by_one(template: str, prompt: str, no_ops: float) -> None:
    task = make_tasks(small(no_op_fraction=no_ops), 0)["train"]
    tokenizer = make_tokenizer("bytes")
    written = make_template(template, tokenizer)
    encoder = bulk_encoder(task, written, tokenizer, prompt)
    assert encoder is not None and encoder.prompts_agree()
    items = np.arange(100, 160)
    encoded = encoder.encode(items)
    prompts = encoder.encode_prompts(task.examples(items))
    source = RewriteSource(task, prompt, "x")
    for row, item in enumerate(items.tolist()):
        asked = encode_prompt(source[item].messages[:1], written, tokenizer)
        assert prompts[row].tolist() == asked.tolist()
        plain = encode_conversation(source[item], written, tokenizer, max_length=1000)
        end = encoded.lengths[row]
        assert encoded.tokens[row, :end].tolist() == plain.tokens.tolist()
        assert encoded.classes[row, :end].tolist() == plain.classes.tolist()
        assert not encoded.tokens[row, end:].any() and not encoded.classes[row, end:].any()


def test_examples_of_other_lengths_have_no_place_in_a_prompt() -> None:
    task, longer = (make_tasks(small(input_length=length), 0)["train"] for length in (20, 21))
    tokenizer = make_tokenizer("bytes")
    encoder = bulk_encoder(task, make_template("plain", tokenizer), tokenizer, PROMPTS[0])
    assert encoder is not None
    with pytest.raises(ValueError, match="shape mismatch"):
        encoder.encode_prompts(longer.examples(np.arange(3)))


def test_a_prompt_that_the_template_strips_is_not_encoded_in_bulk() -> None:
    task = make_tasks(small(), 0)["train"]
    tokenizer = make_tokenizer("bytes")
    assert bulk_encoder(task, make_template("tulu", tokenizer), tokenizer, "  {left}>{right}:{input}") is None
    data = prepared(config_of({"template": "tulu"}, prompt="  {left}>{right}:{input}"))
    assert len(data.train) == 600


@pytest.mark.parametrize(("packing", "per_row"), [("none", 1), ("best_fit", 3)])
def test_rows_hold_every_example_once(packing: str, per_row: int) -> None:
    # 1 bos + 3 + 1 + 4 + 1 + 20 + 1 newline + 21 + 1 stop = 53 tokens
    data = prepared(config_of({"packing": packing, "max_length": 53 * 3 + 10}, num_examples=100))
    assert len(data.train_rows) == -(-100 // per_row)
    whole = data.train_rows.batch(np.arange(len(data.train_rows)))
    seen = []
    for row in range(len(data.train_rows)):
        assert all(np.array_equal(a, b[row]) for a, b in zip(data.train_rows[row], whole, strict=True))
        seen += _segments(Batch(*(field[row] for field in whole)))
    assert seen == [data.train[i].tokens.tolist() for i in range(100)]


def _segments(row: Batch) -> list[list[int]]:
    parts = []
    for segment in range(1, int(row.segments.max()) + 1):
        here = np.flatnonzero(row.segments == segment)
        assert row.positions[here].tolist() == list(range(len(here)))
        parts.append(row.tokens[here].tolist())
    assert not row.tokens[row.segments == 0].any() and not row.classes[row.segments == 0].any()
    return parts


@pytest.mark.parametrize("policy", ["it", "im"])
def test_counts_are_those_of_the_examples_one_by_one(policy: str) -> None:
    in_bulk = prepared(config_of(policy=policy, no_op_fraction=0.25))
    # The template strips the space in front, so this one goes the long way.
    one_by_one = prepared(
        config_of({"template": "tulu"}, policy=policy, no_op_fraction=0.25, prompt=" " + PROMPTS[0])
    )
    tulu = prepared(config_of({"template": "tulu"}, policy=policy, no_op_fraction=0.25))
    assert tulu.report.as_dict() == one_by_one.report.as_dict()
    assert tulu.report.trained == 600 and tulu.report.stop_trained == one_by_one.report.stop_trained
    counted = np.bincount(
        np.concatenate([in_bulk.train[i].classes for i in range(len(in_bulk.train))]),
        minlength=len(TokenClass),
    )
    assert in_bulk.report.tokens.tolist() == counted.tolist()
    assert in_bulk.heldout_report is not None and in_bulk.heldout_report.kept == 50


@pytest.mark.parametrize("policy", ["it", "im", "last_turn"])
def test_what_is_made_when_it_is_read_is_counted_like_what_is_stored(policy: str) -> None:
    in_bulk = prepared(config_of({"template": "tulu"}, policy=policy, no_op_fraction=0.25))
    stored = prepared(
        config_of({"template": "tulu"}, policy=policy, no_op_fraction=0.25, prompt=" " + PROMPTS[0])
    )
    assert isinstance(in_bulk.train, RewriteDataset) and isinstance(stored.train, EncodedDataset)
    numbers = np.arange(len(stored.train))
    assert in_bulk.train.lengths.tolist() == stored.train.lengths.tolist()
    assert in_bulk.train.targets(numbers).tolist() == stored.train.targets(numbers).tolist()
    counted = DataReport()
    counted.count_targets(in_bulk.train, make_policy(LossConfig(policy=policy)).table())
    for name in ("trained", "without_target", "stop_trained"):
        assert getattr(counted, name) == getattr(in_bulk.report, name) == getattr(stored.report, name)


def test_batches_follow_seed_and_step() -> None:
    rows = prepared(config_of()).train_rows

    def first(seed: int, local: range) -> Batch:
        return next(train_iterator(rows, seed=seed, batch_size=8, local=local, workers=1))

    whole, part, other = first(0, range(8)), first(0, range(2, 4)), first(1, range(8))
    assert np.array_equal(whole.tokens[2:4], part.tokens)
    assert not np.array_equal(whole.tokens, other.tokens)
    batches = list(eval_batches(rows, length=96, batch_size=256, local=range(256)))
    assert len(batches) == 3 and batches[2].tokens.shape == (256, 96)


def test_the_fingerprint_follows_the_examples() -> None:
    prints = {
        prepared(config).fingerprint()
        for config in (
            config_of(),
            config_of(alphabet="abcdefg"),
            config_of({"seed": 1}),
            config_of({"template": "tulu"}),
        )
    }
    assert len(prints) == 4
    assert prepared(config_of()).fingerprint() in prints


@pytest.mark.parametrize(
    ("data", "rewrites", "message"),
    [
        (
            {"max_length": 40},
            {},
            "data.max_length=40 cuts rewrite examples, which have 53 tokens; set it to 53 or more",
        ),
        ({}, {"prompt": "{left}>{right}"}, "leaves out {input}, which the answer needs"),
        ({}, {"prompt": "{left}{right}{inptu}"}, "can have {left}, {right} and {input} as its fields"),
        ({}, {"prompt": "{left}{right}{input"}, "write {{ for a brace"),
    ],
)
def test_what_cannot_be_written_is_refused(
    data: dict[str, Any], rewrites: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        prepared(config_of(data, **rewrites))
    assert message in str(error.value)


def test_a_file_of_heldout_examples_is_refused() -> None:
    config = config_of()
    config.eval = dataclasses.replace(config.eval, path="heldout.jsonl")
    with pytest.raises(ConfigError, match="holds out unseen rules"):
        prepared(config)


def test_fields_that_the_source_would_ignore_are_refused() -> None:
    with pytest.raises(ConfigError, match="to use them"):
        prepared(config_of({"source": "generated"}))
