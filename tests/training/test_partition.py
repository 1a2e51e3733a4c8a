"""Parameters that are only read: the step leaves them as they are, and pays nothing for their gradients."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from im_jax.config import LossConfig
from im_jax.losses.policy import make_policy
from im_jax.models.sharding import ShardingRules
from im_jax.training.partition import Frozen, merge, split
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from tests.training.tiny import KEEP_GRADIENT, MODEL, fresh_params, random_examples, rows_of, told_of

BATCH = rows_of(random_examples(6, 8), [[0, 1], [2, 3], [4, 5], [6, 7]])
TOLD = told_of(make_policy(LossConfig(policy="im")))


def is_attention(path: str) -> bool:
    return path.startswith("layers.attention.")


def gradients(is_trained: Any) -> tuple[Any, Any]:
    """The gradient that reached the optimiser, and the frozen parameters."""
    step = make_train_step(MODEL, LossConfig(), KEEP_GRADIENT, accumulate=1, rules=ShardingRules())
    trained, frozen = split(fresh_params(), is_trained)
    after, _ = jax.jit(step)(new_state(trained, KEEP_GRADIENT), Frozen(frozen), BATCH, TOLD)
    return after.opt_state, frozen


def test_frozen_parameters_leave_the_gradients_of_the_others_as_they_are() -> None:
    whole, _ = gradients(lambda path: True)
    part, frozen = gradients(is_attention)
    expected = split(whole, is_attention)[0]
    assert jax.tree.structure(part) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(part), jax.tree.leaves(expected), strict=True):
        scale = float(np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=2e-6 * scale, rtol=0, err_msg=jax.tree_util.keystr(path))
    assert set(frozen) == {"embedding", "layers", "final_norm"}


def test_training_moves_what_is_trained_and_keeps_optimiser_state_for_it_alone() -> None:
    optimizer = optax.adamw(1e-2)
    step = make_train_step(MODEL, LossConfig(), optimizer, accumulate=2, rules=ShardingRules())
    trained, frozen = split(fresh_params(), is_attention)
    before = jax.device_get(frozen)
    state = new_state(trained, optimizer)
    donating = jax.jit(step, donate_argnums=0)
    for _ in range(2):
        state, _ = donating(jax.tree.map(lambda x: x.copy(), state), Frozen(frozen), BATCH, TOLD)
    for a, b in zip(jax.tree.leaves(frozen), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = [
        bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (state.params, trained)), strict=True)
    ]
    assert all(moved)
    parameters = sum(x.size for x in jax.tree.leaves(trained))
    assert sum(x.size for x in jax.tree.leaves(state.opt_state) if x.ndim) == 2 * parameters


def test_gradients_of_frozen_matrices_are_not_computed() -> None:
    def products(is_trained: Any) -> int:
        step = make_train_step(MODEL, LossConfig(), KEEP_GRADIENT, accumulate=1, rules=ShardingRules())
        trained, frozen = split(fresh_params(), is_trained)
        compiled = (
            jax.jit(step).lower(new_state(trained, KEEP_GRADIENT), Frozen(frozen), BATCH, TOLD).compile()
        )
        return int(compiled.cost_analysis()["flops"])

    assert products(is_attention) < 0.9 * products(lambda path: True)


def test_a_tree_is_split_and_put_together_again() -> None:
    tree = {"a": {"b": 1, "c": 2}, "d": 3}
    trained, frozen = split(tree, lambda path: path == "a.b")
    assert (trained, frozen) == ({"a": {"b": 1}}, {"a": {"c": 2}, "d": 3})
    assert merge(trained, frozen) == tree
    assert merge(tree, {}) is tree
    with pytest.raises(ValueError, match=r"both trained and frozen: a\.b"):
        merge(tree, trained)
