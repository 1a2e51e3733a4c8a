"""The rewrites benchmark: its default is of the tier `cpu`, and all contestants do the same work on the same data."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.bench import options
from im_jax.bench.case import Case
from im_jax.bench.contestants import rewrites_data, small_gpt2
from im_jax.bench.methods import find_method
from im_jax.bench.sizes import REWRITES_BETAS, REWRITES_CLIP_NORM, REWRITES_EPS
from im_jax.models import decoder
from im_jax.studies.rewrites import experiments
from im_jax.training.optimizer import resolve_constants
from tests.bench.test_contestants import values_of
from tests.models.reference import reference_logits

TRAIN = Case("rewrites", (4, 5, 2), "float32", model=(2, 2, 16), work="train")
EVALUATE = dataclasses.replace(TRAIN, work="evaluate")


@functools.cache
def ours(case: Case) -> list[float]:
    (values,) = values_of(case, find_method("rewrites", "im_jax")[0]).values()
    return values


def test_the_default_has_model_and_examples_of_the_tier_cpu() -> None:
    train, evaluate = options.parse(["bench", "rewrites"]).cases
    assert (train.work, evaluate.work) == ("train", "evaluate")
    tier, config = experiments.base("cpu"), rewrites_data.config_of(train)
    model = dataclasses.replace(tier.model, vocab_size=rewrites_data.TOKENIZER.vocab_size)
    assert small_gpt2.model_config(train) == model
    assert rewrites_data.tokens_of(train) == tier.data.max_length
    test_examples = config.data.rewrites.num_test_examples
    assert config.data.rewrites == dataclasses.replace(tier.data.rewrites, num_test_examples=test_examples)
    assert config.data.max_length == tier.data.max_length


def test_weights_are_those_of_every_parameter() -> None:
    params = small_gpt2.params(TRAIN)
    shapes = decoder.abstract_params(small_gpt2.model_config(TRAIN))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda x: x.shape, shapes)
    assert all(np.std(x) > 0.05 for x in jax.tree.leaves(params))


def test_loss_is_on_the_tokens_of_the_answer() -> None:
    batch = rewrites_data.first_batches(TRAIN)[0]
    assert batch.tokens.shape == (4, rewrites_data.tokens_of(TRAIN))
    assert (batch.segments == 1).all()  # no padding
    start = rewrites_data.tokens_of(TRAIN) - rewrites_data.answer_tokens(TRAIN)
    assert (batch.tokens[:, start - 1] == ord("\n")).all()
    assert (batch.tokens[:, -1] == rewrites_data.TOKENIZER.eos_id).all()


@pytest.mark.parametrize("case", [TRAIN, EVALUATE], ids=["train", "evaluate"])
def test_making_data_in_the_same_time_does_not_change_the_work(case: Case) -> None:
    (with_data,) = values_of(case, find_method("rewrites", "im_jax_with_data")[0]).values()
    np.testing.assert_array_equal(with_data, ours(case))


@pytest.mark.parametrize("case", [TRAIN, EVALUATE], ids=["train", "evaluate"])
def test_losses_and_answers_are_those_of_transformers(case: Case) -> None:
    method, _ = find_method("rewrites", "transformers")
    for package in method.packages:
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra peers")
    (theirs,) = values_of(case, method).values()
    np.testing.assert_allclose(theirs, ours(case), rtol=1e-5 if case.work == "train" else 0)


def test_the_optimisers_constants_are_the_same() -> None:
    constants = resolve_constants(small_gpt2.optimizer_config())
    assert (constants.beta1, constants.beta2) == REWRITES_BETAS
    assert (constants.eps, constants.clip_norm) == (REWRITES_EPS, REWRITES_CLIP_NORM)
    assert constants.weight_decay == 0


def test_answers_are_the_most_likely_tokens() -> None:
    source = rewrites_data.Prompts(EVALUATE)
    config, params = small_gpt2.model_config(EVALUATE), small_gpt2.params(EVALUATE)
    new = rewrites_data.answer_tokens(EVALUATE)
    answers = np.reshape(ours(EVALUATE), (-1, new))
    assert len(answers) == rewrites_data.PREPARED * 4 and len(np.unique(answers, axis=0)) > 4
    for row in (0, 5):
        tokens = source.encode(source.examples(row // 4))[row % 4].tolist()
        for _ in range(new):
            tokens.append(int(reference_logits(params, config, np.array(tokens))[-1].argmax()))
        assert tokens[-new:] == answers[row].tolist()
