"""The divergence from the model that a run starts from: its gradient, its cuts, and whole runs."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax import validation
from im_jax.batch import Batch
from im_jax.config import LossConfig
from im_jax.config.loss import KLConfig
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy
from im_jax.losses.weighting import normalise, target_weights
from im_jax.models import decoder, huggingface
from im_jax.models.loss import Base, make_targets, weighted_loss
from im_jax.models.sharding import ShardingRules
from im_jax.training.neftune import embedding_noise
from im_jax.training.partition import Frozen, merge
from im_jax.training.start import train
from im_jax.training.state import new_state
from im_jax.training.step import TrainStep, make_train_step
from tests.training.test_train import QUIET
from tests.training.tiny import (
    ADAPTED,
    KEEP_GRADIENT,
    MODEL,
    adapted_params,
    fresh_params,
    random_examples,
    rows_of,
    tiny_config,
    told_of,
)

POLICY = make_policy(LossConfig(policy="im"))
PACKED = rows_of(random_examples(8, 8), [[0, 1], [2, 3], [4, 5], [6, 7]])
PADDED = rows_of(random_examples(8, 8), [[i] for i in range(8)])


@functools.cache
def other_params() -> decoder.Params:
    return jax.jit(functools.partial(decoder.init_params, MODEL))(jax.random.key(5))


@functools.cache
def compiled_step(accumulate: int, noise: float, **kl: str) -> TrainStep:
    """For every coefficient, which is told."""
    loss = LossConfig(policy="im", neftune_alpha=noise, kl=KLConfig(weight=1.0, **kl))
    return jax.jit(make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=accumulate, rules=ShardingRules()))


def step_of(
    base: decoder.Params | None,
    batch: Any,
    coefficient: float = 0.5,
    accumulate: int = 1,
    noise: float = 0.0,
    **kl: str,
) -> Any:
    """Metrics and gradient of a step."""
    told = told_of(POLICY)._replace(coefficients={"kl": jnp.float32(coefficient)})
    step, state = compiled_step(accumulate, noise, **kl), new_state(fresh_params(), KEEP_GRADIENT)
    after, metrics = step(state, Frozen({}, base), batch, told)
    return jax.device_get((metrics, after.opt_state))


def assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * max(float(np.abs(b).max()), 1e-8), rtol=0)


def test_the_model_itself_changes_no_gradient() -> None:
    metrics, gradient = step_of(fresh_params(), PACKED, coefficient=3.0)
    plain, expected = step_of(None, PACKED)
    assert abs(float(metrics.kl)) < 1e-5 and plain.kl is None
    assert_close(gradient, expected, 1e-4)  # three times a difference of logarithms, which is rounded


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_it_is_the_mean_over_tokens_with_loss_and_its_gradient_that_of_the_definition(direction: str) -> None:
    rows = [jnp.asarray(x) for x in (PACKED.tokens, PACKED.segments, PACKED.positions)]

    def mean_kl(params: decoder.Params, base: decoder.Params) -> jax.Array:
        own, other = (
            jax.nn.log_softmax(decoder.logits(each, MODEL, *rows)[:, :-1]) for each in (params, base)
        )
        p, q = (own, other) if direction == "reverse" else (other, own)
        segments = PACKED.segments
        trained = np.isin(PACKED.classes, np.flatnonzero(POLICY.table()))[:, 1:]
        exists = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0) & trained
        weights = exists * PACKED.message_weights[:, 1:]
        return jnp.sum(weights * jnp.sum(jnp.exp(p) * (p - q), axis=-1)) / weights.sum()

    base = other_params()
    expected, slope = jax.jit(jax.value_and_grad(mean_kl))(fresh_params(), base)
    metrics, with_it = step_of(base, PACKED, coefficient=0.5, direction=direction)
    _, without = step_of(None, PACKED)
    assert float(metrics.kl) == pytest.approx(float(expected), rel=1e-5)
    assert_close(with_it, jax.tree.map(lambda a, b: a + 0.5 * b, without, slope))


def test_packed_is_padded_and_micro_batches_are_one() -> None:
    base = other_params()
    metrics, gradient = step_of(base, PACKED)
    padded, of_padded = step_of(base, PADDED)
    cut, of_cut = step_of(base, PADDED, accumulate=4)
    assert float(padded.kl) == pytest.approx(float(metrics.kl), rel=1e-5)
    assert float(cut.kl) == pytest.approx(float(metrics.kl), rel=1e-5)
    # Of logits near each other the difference is rounded: a third of a part in ten thousand of the largest.
    assert_close(of_padded, gradient, 3e-5)
    assert_close(of_cut, gradient, 3e-5)


def test_noise_and_divergence_together_do_not_depend_on_micro_batches() -> None:
    base = other_params()
    metrics, gradient = step_of(base, PADDED, noise=5.0)
    cut, of_cut = step_of(base, PADDED, noise=5.0, accumulate=4)
    without, _ = step_of(base, PADDED)
    assert float(cut.kl) == pytest.approx(float(metrics.kl), rel=1e-5)
    assert abs(float(metrics.kl) - float(without.kl)) > 1e-4
    assert_close(of_cut, gradient, 3e-5)


@pytest.mark.parametrize("adapted", [False, True])
def test_noise_and_divergence_together_are_the_same_packed_and_apart(adapted: bool) -> None:
    """Apart, each example stands alone in a row, at the place that it has packed, and so draws the same."""
    if adapted:
        model, (start, rest), base = ADAPTED, adapted_params(), {}
    else:
        model, start, rest, base = MODEL, fresh_params(), {}, other_params()
    rows, segments = np.repeat(np.arange(4), 2), np.tile([1, 2], 4)
    inside = PACKED.segments[rows] == segments[:, None]
    apart = PACKED._replace(**{name: np.where(inside, x[rows], 0) for name, x in PACKED._asdict().items()})
    loss = LossConfig(policy="im", neftune_alpha=5.0, kl=KLConfig(weight=0.5))

    def value_and_grad(batch: Batch, row_keys: Any) -> Any:
        batch = jax.tree.map(jnp.asarray, batch)
        weights = normalise(
            target_weights(batch, jnp.asarray(POLICY.table())), batch.segments, loss.reduction
        )
        noise = embedding_noise(jax.random.key(0), batch.segments, loss.neftune_alpha, MODEL.embed_dim)
        assert noise is not None
        drawn = noise._replace(keys=noise.keys[row_keys])
        targets, held = make_targets(batch, weights), Base(merge(base, rest), jnp.float32(0.5))

        def of(params: decoder.Params) -> Any:
            others = (batch, targets, model, loss, ShardingRules())
            value, _, kl = weighted_loss(merge(params, rest), *others, noise=drawn, base=held)
            return value, kl

        return jax.jit(jax.value_and_grad(of, has_aux=True))(start)

    (value, kl), gradient = value_and_grad(PACKED, np.arange(4))
    (of_apart, _), other = value_and_grad(apart, rows)
    assert kl > 1e-3
    assert float(of_apart) == pytest.approx(float(value), rel=1e-5)
    assert_close(other, gradient, 3e-5)


def test_a_run_is_held_to_the_weights_it_starts_from_and_goes_on_with_them(tmp_path: Path) -> None:
    config = tiny_config()
    model = dataclasses.replace(config.model, vocab_size=258)
    huggingface.save_params(decoder.init_params(model, jax.random.key(1)), model, tmp_path / "base")

    def run(name: str, weight: float, steps: int) -> list[dict[str, Any]]:
        started = dataclasses.replace(
            config,
            model=dataclasses.replace(
                config.model, path=str(tmp_path / "base"), vocab_size=None, compute_dtype="float32"
            ),
            loss=dataclasses.replace(config.loss, kl=KLConfig(weight=weight)),
            tokenizer=dataclasses.replace(config.tokenizer, path="bytes"),
            train=dataclasses.replace(config.train, steps=steps),
            optimizer=dataclasses.replace(config.optimizer, schedule="constant", learning_rate=1e-2),
            log=dataclasses.replace(config.log, every=1),
        )
        train(started, tmp_path / name, QUIET)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if entry["split"] == "train"]

    held, free = run("held", 10.0, 8), run("free", 1e-6, 8)
    assert abs(held[0]["kl"]) < 1e-5 < held[-1]["kl"] < free[-1]["kl"] / 2
    run("resumed", 10.0, 4)
    again = run("resumed", 10.0, 8)
    assert [entry["kl"] for entry in again] == [entry["kl"] for entry in held]


def test_the_released_estimate_only_scales_the_gradient_and_at_one_nothing_is_left() -> None:
    base = other_params()
    plain, expected = step_of(None, PACKED)

    def released(coefficient: float) -> tuple[Any, Any]:
        return step_of(base, PACKED, coefficient, estimator="sampled_released")

    for coefficient in (0.25, 1.0, 1.5):
        metrics, gradient = released(coefficient)
        difference = jax.tree.map(lambda x, y, c=coefficient: x - (1 - c) * y, gradient, expected)
        largest = max(float(np.abs(x).max()) for x in jax.tree.leaves(expected))
        assert max(float(np.abs(x).max()) for x in jax.tree.leaves(difference)) < 1e-6 * largest
        assert float(metrics.loss) == pytest.approx(
            float(plain.loss) + coefficient * float(metrics.kl), rel=1e-6
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": 1.0}, r"loss\.kl\.weight=1 must be below 1 with loss\.kl\.estimator=sampled_released"),
        ({"weight": 0.5, "direction": "forward"}, r"loss\.kl\.direction=forward has no effect with"),
    ],
)
def test_what_the_released_estimate_cannot_do_is_refused(fields: dict[str, Any], message: str) -> None:
    config = tiny_config()
    config.model.path = "base"
    config.loss.kl = KLConfig(estimator="sampled_released", **fields)
    with pytest.raises(ConfigError, match=message):
        validation.check(config)


def test_random_weights_are_no_base() -> None:
    config = tiny_config()
    config.loss.kl.weight = 0.1
    with pytest.raises(ConfigError, match=r"loss\.kl\.weight=0\.1 needs model\.path"):
        validation.check(config)
