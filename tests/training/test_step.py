"""The optimiser step does not depend on how its examples are laid out or cut."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import REDUCTIONS, LossConfig
from im_jax.losses.policy import make_policy
from im_jax.models import last_block
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import TokenClass
from im_jax.training.partition import Frozen
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from tests.training.tiny import (
    KEEP_GRADIENT,
    MODEL,
    fresh_params,
    gradient_of,
    random_examples,
    rows_of,
    told_of,
)

PADDED = [[0], [1], [2], [3], [4], [5], [6], [7]]
PACKED = [[0, 1], [2, 3], [4, 5], [6, 7], [], [], [], []]


def assert_close(left, right, tolerance=2e-6):
    """Equal up to float32 rounding, relative to the largest element of each array."""
    for (path, a), b in zip(jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True):
        scale = max(float(np.abs(b).max()), 1e-8)
        np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=0, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("policy", "reduction"), [*(("im", reduction) for reduction in REDUCTIONS), ("it", "token_mean")]
)
def test_packed_equals_padded(policy: str, reduction: str) -> None:
    examples = random_examples(0, 8)
    padded, padded_gradient = gradient_of(rows_of(examples, PADDED), policy, reduction)
    packed, packed_gradient = gradient_of(rows_of(examples, PACKED), policy, reduction)
    assert_close(packed, padded)
    assert_close(packed_gradient, padded_gradient, 1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_micro_batches_of_unequal_token_counts_equal_one(reduction: str) -> None:
    batch = rows_of(random_examples(1, 8), PADDED)
    whole, whole_gradient = gradient_of(batch, "im", reduction)
    cut, cut_gradient = gradient_of(batch, "im", reduction, accumulate=4)
    assert_close(cut, whole)
    assert_close(cut_gradient, whole_gradient, 1e-5)


def test_micro_batches_without_any_target_change_nothing() -> None:
    # Row i goes to micro-batch i mod 4, so two of the four hold padding alone.
    examples = random_examples(2, 4)
    batch = rows_of(examples, [[0], [1], [], [], [2], [3], [], []])
    whole, whole_gradient = gradient_of(batch, "im", "token_mean")
    cut, cut_gradient = gradient_of(batch, "im", "token_mean", accumulate=4)
    assert_close(cut, whole)
    assert_close(cut_gradient, whole_gradient, 1e-5)


def test_reported_gradient_norm_is_that_of_the_whole_step() -> None:
    metrics, gradient = gradient_of(rows_of(random_examples(3, 8), PADDED), "im", "token_mean", accumulate=4)
    squares = [float(np.sum(np.square(g, dtype=np.float64))) for g in jax.tree.leaves(gradient)]
    assert float(metrics.grad_norm) == pytest.approx(np.sqrt(sum(squares)), rel=1e-5)


def test_training_reports_losses_only_of_what_it_trains_and_counts_every_target() -> None:
    examples = random_examples(4, 8)
    by_class = gradient_of(rows_of(examples, PADDED), "last_turn", "token_mean")[0].by_class
    last = {c for c in TokenClass if c.label.startswith("last_")}
    assert len(last) == 4
    trained = last | {TokenClass.USER}
    assert {c for c in TokenClass if by_class.measured[c] > 0} == trained
    assert by_class.targets.sum() == sum(len(example.tokens) - 1 for example in examples)


def test_gradients_of_bfloat16_parameters_add_up_in_float32() -> None:
    model = dataclasses.replace(MODEL, param_dtype="bfloat16")
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), fresh_params())
    loss = LossConfig(policy="im")
    step = make_train_step(model, loss, KEEP_GRADIENT, accumulate=8, rules=ShardingRules())
    batch = rows_of(random_examples(7, 8), PADDED)
    state, told = new_state(params, KEEP_GRADIENT), told_of(make_policy(loss))
    jaxpr = jax.make_jaxpr(step)(state, Frozen({}), batch, told)
    loops = [equation for equation in jaxpr.eqns if equation.primitive.name == "scan"]
    assert len(loops) == 1 and loops[0].params["length"] == 8
    assert {x.aval.dtype for x in loops[0].outvars} == {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}
    after = jax.eval_shape(step, state, Frozen({}), batch, told)[0]
    assert {x.dtype for x in jax.tree.leaves(after.opt_state)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_computes_less_of_the_last_block_has_the_same_gradient(
    accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`it` trains few tokens of each row; attention that keeps all scores computes the last block of all."""
    monkeypatch.setattr(last_block, "LEAST_PARAMETERS", 0)
    loss, batch = LossConfig(policy="it"), rows_of(random_examples(8, 8), PADDED)
    steps = [
        make_train_step(model, loss, KEEP_GRADIENT, accumulate=accumulate, rules=ShardingRules())
        for model in (MODEL, dataclasses.replace(MODEL, attention="full"))
    ]
    state, told = new_state(fresh_params(), KEEP_GRADIENT), told_of(make_policy(loss))
    (ours, metrics), (expected, expected_metrics) = (
        jax.jit(step)(state, Frozen({}), batch, told) for step in steps
    )
    assert float(metrics.by_class.measured.sum()) < batch.tokens.size / 4
    assert_close(metrics, expected_metrics)
    assert_close(ours.opt_state, expected.opt_state, 1e-5)
