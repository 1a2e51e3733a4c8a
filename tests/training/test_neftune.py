"""Noise on the embeddings: how large it is, where it goes, and what it does not depend on."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import LossConfig, ModelConfig
from im_jax.evaluation.heldout import make_eval_step
from im_jax.losses.policy import make_policy
from im_jax.mesh import make_mesh
from im_jax.models import decoder
from im_jax.models.embedding import Noise, noisy
from im_jax.models.sharding import ShardingRules
from im_jax.training.neftune import embedding_noise
from im_jax.training.partition import Frozen
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from im_jax.training.told import constant_weights, teller
from tests.jaxpr import equations
from tests.training.tiny import (
    KEEP_GRADIENT,
    MODEL,
    fresh_params,
    random_examples,
    rows_of,
    tiny_config,
    told_of,
)

ALPHA, WIDTH = 5.0, MODEL.embed_dim
EXAMPLES = random_examples(11, 8)
PACKED = rows_of(EXAMPLES, [[0, 1, 2], [3], [], [4, 5], [6], [7], [], []], length=72)
POLICY = make_policy(LossConfig(policy="im"))


def made(segments: Any, key: int = 0, alpha: float = ALPHA) -> Noise:
    noise = embedding_noise(jax.random.key(key), jnp.asarray(segments), alpha, WIDTH)
    assert noise is not None
    return noise


def drawn(segments: Any, key: int = 0) -> np.ndarray:
    """What is added to the embeddings, `[B, L, D]`."""
    nothing = jnp.zeros((*np.shape(segments), WIDTH))
    return np.asarray(noisy(nothing, made(segments, key), ShardingRules()))


def test_each_packed_example_has_noise_to_the_bound_of_its_own_length_and_padding_none() -> None:
    added = np.abs(drawn(PACKED.segments))
    for row, of_row in enumerate(PACKED.segments):
        for segment in set(of_row.tolist()) - {0}:
            inside = of_row == segment
            bound = ALPHA / math.sqrt(inside.sum() * WIDTH)
            assert 0.9 * bound < added[row, inside].max() <= bound * (1 + 1e-6)
        assert not added[row, of_row == 0].any()


def test_bounds_are_the_same_packed_and_padded() -> None:
    padded = rows_of(EXAMPLES, [[number] for number in range(len(EXAMPLES))])
    alone, packed = np.asarray(made(padded.segments).bounds), np.asarray(made(PACKED.segments).bounds)
    lengths = [len(example.tokens) for example in EXAMPLES]
    for number, (row, start) in enumerate(
        [(0, 0), (0, lengths[0]), (0, sum(lengths[:2])), (1, 0), (3, 0), (3, lengths[4]), (4, 0), (5, 0)]
    ):
        length = lengths[number]
        np.testing.assert_array_equal(packed[row, start : start + length], alone[number, :length])


def test_noise_is_uniform() -> None:
    segments = np.ones((4, 16), np.int32)
    bound = ALPHA / math.sqrt(16 * WIDTH)
    draws = np.stack([drawn(segments, key) for key in range(200)]).astype(np.float64) / bound
    count = draws.size
    assert abs(draws.mean()) < 5 * math.sqrt(1 / 3 / count)
    assert abs(np.square(draws).mean() - 1 / 3) < 5 * math.sqrt((1 / 5 - 1 / 9) / count)
    shares = np.histogram(draws, 10, (-1, 1))[0] / count
    np.testing.assert_allclose(shares, 0.1, atol=5 * math.sqrt(0.09 / count))
    assert abs(np.corrcoef(draws[:, 0].ravel(), draws[:, 1].ravel())[0, 1]) < 5 / math.sqrt(count / 4)
    assert abs(np.corrcoef(draws[::2].ravel(), draws[1::2].ravel())[0, 1]) < 5 / math.sqrt(count / 2)


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        dataclasses.replace(MODEL, scale_embedding=True),
        dataclasses.replace(MODEL, positions="learned", embedding_width=16),
    ],
    ids=["plain", "scaled", "width_and_positions"],
)
def test_noise_is_added_to_what_the_embedding_gives(model: ModelConfig) -> None:
    """As if each token of the batch had a row of its own, with noise on it, in the table."""
    batch = jax.tree.map(jnp.asarray, rows_of(EXAMPLES, [[0, 1], [2, 3]]))
    width = model.embedding_width or model.embed_dim
    noise = embedding_noise(jax.random.key(3), batch.segments, ALPHA, width)
    assert noise is not None
    scale = math.sqrt(model.embed_dim) if model.scale_embedding else 1.0
    tokens = jnp.arange(batch.tokens.size).reshape(batch.tokens.shape)
    params = decoder.init_params(model, jax.random.key(0))
    found = decoder.hidden_states(params, model, batch.tokens, batch.segments, batch.positions, noise=noise)
    added = noisy(jnp.zeros((*tokens.shape, width)), noise, ShardingRules()) / scale
    table = (params["embedding"][batch.tokens] + added).reshape(-1, width)
    larger = dataclasses.replace(model, vocab_size=len(table))
    expected = decoder.hidden_states(
        params | {"embedding": table}, larger, tokens, batch.segments, batch.positions
    )
    inside = batch.segments > 0
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    plain = decoder.hidden_states(params, model, batch.tokens, batch.segments, batch.positions)
    assert np.abs(found - plain)[inside].max() > 0.01


def test_noise_does_not_depend_on_micro_batches_and_changes_with_the_key() -> None:
    def gradients(accumulate: int, *keys: int) -> list[Any]:
        """Loss and gradient under each key."""
        loss = LossConfig(policy="im", neftune_alpha=ALPHA)
        step = make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=accumulate, rules=ShardingRules())
        compiled, state = jax.jit(step), new_state(fresh_params(), KEEP_GRADIENT)
        tells = [told_of(POLICY)._replace(key=jax.random.key(key)) for key in keys]
        found = [compiled(state, Frozen({}), PACKED, told) for told in tells]
        return [jax.device_get((metrics.loss, after.opt_state)) for after, metrics in found]

    whole, other_key = gradients(1, 0, 1)
    (cut,) = gradients(4, 0)
    for a, b in zip(jax.tree.leaves(cut), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(float(np.abs(b).max()), 1e-8), rtol=0)
    assert abs(float(whole[0] - other_key[0])) > 1e-4


def test_each_step_draws_anew_and_the_same_when_it_is_asked_again() -> None:
    def noises() -> list[np.ndarray]:
        tell = teller(constant_weights(POLICY), seed=0, mesh=make_mesh(tiny_config().mesh))
        added = [made(PACKED.segments)._replace(keys=noise_keys(tell(step).key)) for step in (1, 2)]
        return [np.asarray(noisy(jnp.zeros((8, 72, WIDTH)), noise, ShardingRules())) for noise in added]

    def noise_keys(key: jax.Array) -> jax.Array:
        noise = embedding_noise(key, jnp.asarray(PACKED.segments), ALPHA, WIDTH)
        assert noise is not None
        return noise.keys

    first, again = noises(), noises()
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1])[PACKED.segments > 0].mean() > 0.99


def test_evaluation_and_a_step_without_noise_draw_nothing() -> None:
    def draws(function: Any, *arguments: Any) -> list[str]:
        jaxpr = jax.make_jaxpr(function)(*arguments)
        return [name for e, _ in equations(jaxpr.jaxpr) if (name := e.primitive.name) == "random_bits"]

    def step(alpha: float) -> Any:
        loss = LossConfig(neftune_alpha=alpha)
        return make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=2, rules=ShardingRules())

    state, told = new_state(fresh_params(), KEEP_GRADIENT), told_of(POLICY)
    assert draws(step(ALPHA), state, Frozen({}), PACKED, told)
    assert not draws(step(0.0), state, Frozen({}), PACKED, told)
    assert not draws(make_eval_step(MODEL, rules=ShardingRules()), fresh_params(), PACKED)
