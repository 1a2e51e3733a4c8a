"""The loop over blocks of active rows: what it visits, that block sizes do not matter, and what it returns."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.losses import blockwise
from im_jax.losses.blockwise import Plan, Vocabulary, reduce_blocks
from im_jax.losses.cross_entropy.objective import CrossEntropy, Rows
from im_jax.losses.sharded import LossAxes, weighted_loss
from tests.losses.test_cross_entropy import inputs, reference, relative_error

PLAIN = CrossEntropy(softcap=None, z_loss=0.0, label_smoothing=0.0)
BLOCK = 8
ONE_SIZE = blockwise.ACCELERATOR._replace(sizes=(BLOCK,))


def mask_of(n: int, total: int, seed: int = 0) -> np.ndarray:
    """Weights of which `n`, at random places, are above zero."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(total, np.float32)
    weights[rng.permutation(total)[:n]] = rng.uniform(0.1, 2, n)
    return weights


def by_plan(plan: Plan) -> Callable:
    """A compiled function of (hidden, head, labels, weights) to the values and gradients that the tests want."""

    def loss(hidden, head, labels, weights):
        rows = Rows(labels, weights)
        value, values = weighted_loss(PLAIN, hidden, head, weights, rows, axes=LossAxes(), plan=plan)
        return value, values.nll

    @jax.jit
    def value_and_gradients(*args):
        (value, nll), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(*args)
        return value, nll, *gradients

    return value_and_gradients


@pytest.mark.parametrize(("total", "head_grad_rows"), [(29, None), (32, 4)])
def test_every_number_of_active_rows_equals_float64_by_one_program(total, head_grad_rows):
    hidden, head, labels, _ = inputs(n=total, d=12, v=53)
    compiled = by_plan(ONE_SIZE._replace(head_grad_rows=head_grad_rows))
    for n in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, total - 1, total):
        weights = mask_of(n, total, seed=n)
        found = compiled(hidden, head, labels, weights)
        expected = reference(hidden, head, labels, weights)
        for name, a, b in zip(("loss", "nll", "d_hidden", "d_head"), found, expected, strict=True):
            if n == 0:
                assert not np.any(a), name
            assert relative_error(a, b) < 2e-6, (n, name)
    assert compiled._cache_size() == 1


def test_block_sizes_do_not_change_the_result():
    hidden, head, labels, weights = inputs(n=50, d=9, v=53)
    plans = [ONE_SIZE._replace(sizes=sizes) for sizes in ((1,), (7,), (512,))]
    first, *others = [by_plan(plan)(hidden, head, labels, weights) for plan in plans]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 5, 7])
def test_slices_of_the_gradient_of_the_head_do_not_change_it(rows):
    hidden, head, labels, weights = inputs(n=20, d=12, v=53)
    d_head = by_plan(ONE_SIZE._replace(head_grad_rows=rows))(hidden, head, labels, weights)[3]
    assert relative_error(d_head, reference(hidden, head, labels, weights)[3]) < 2e-6


@dataclasses.dataclass(frozen=True)
class Watched:
    """An objective that tells the host which rows each block brought, and how many it had room for."""

    see: Callable[[np.ndarray], None]

    def block(self, logits, rows, constants, vocabulary):
        jax.debug.callback(self.see, rows)
        return (logits.sum(1),), logits


def blocks_visited(plan: Plan, actives: list[np.ndarray]) -> list[list[np.ndarray]]:
    """For each mask, by one compiled program, the row numbers (from 1; 0: no row) of every block."""
    visited: list[np.ndarray] = []
    watched = Watched(lambda rows: visited.append(np.array(rows)))
    total = actives[0].size

    @jax.jit
    def run(active):
        return reduce_blocks(
            watched,
            jnp.ones((total, 2)),
            jnp.ones((2, 3)),
            active,
            jnp.arange(1, total + 1),
            (),
            vocabulary=Vocabulary(3),
            plan=plan,
            gradients=(True, True),
        ).d_head

    blocks = []
    for active in actives:
        run(active).block_until_ready()
        jax.effects_barrier()
        blocks.append(sorted(visited, key=lambda rows: rows[0]))
        visited.clear()
    assert run._cache_size() == 1
    return blocks


@pytest.mark.parametrize("order", ["last", "random"])
def test_each_active_row_is_visited_once_and_no_trip_is_made_for_the_others(order):
    total, counts = 100, (0, 1, BLOCK, BLOCK + 1, 37, 100)
    actives = []
    for n in counts:
        active = np.arange(total) < n
        actives.append(active[::-1] if order == "last" else np.random.default_rng(n).permutation(active))
    for n, active, blocks in zip(counts, actives, blocks_visited(ONE_SIZE, actives), strict=True):
        assert len(blocks) == -(-n // BLOCK)
        rows = np.concatenate(blocks) if blocks else np.zeros(0, int)
        np.testing.assert_array_equal(rows[:n], np.flatnonzero(active) + 1)
        assert not rows[n:].any()


def test_the_block_size_follows_the_number_of_active_rows():
    plan, total = ONE_SIZE._replace(sizes=(4, 16, 64), trip_cost=6), 200
    counts = (1, 3, 5, 16, 17, 40, 63, 200)
    used = set()
    for n, blocks in zip(counts, blocks_visited(plan, [np.arange(total) < n for n in counts]), strict=True):
        cost = {size: -(-n // size) * (size + plan.trip_cost) for size in plan.sizes}
        (size,) = {len(rows) for rows in blocks}
        assert cost[size] == min(cost.values()) and len(blocks) == -(-n // size)
        used.add(size)
    assert used == set(plan.sizes)


@pytest.mark.parametrize("plan", [blockwise.CPU, blockwise.ACCELERATOR])
def test_a_batch_smaller_than_a_block_is_one_block_of_its_size(plan):
    active = np.ones(33, bool)
    ((block,),) = blocks_visited(plan, [active])
    np.testing.assert_array_equal(block, np.arange(1, 34))


def test_gradients_that_are_not_wanted_are_not_made():
    hidden, head, labels, weights = inputs()
    for wanted in [(False, False), (True, False), (False, True)]:

        def run(*args, wanted=wanted):
            return reduce_blocks(
                PLAIN,
                *args,
                constants=(),
                vocabulary=Vocabulary(head.shape[1]),
                plan=ONE_SIZE,
                gradients=wanted,
            )

        rows = Rows(jnp.asarray(labels), jnp.asarray(weights))
        result = jax.eval_shape(run, hidden, head, jnp.asarray(weights > 0), rows)
        assert (result.d_hidden is not None, result.d_head is not None) == wanted
