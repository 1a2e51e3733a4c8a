"""Weights of targets and their reductions, against a plain Python restatement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.batch import Batch
from im_jax.config import REDUCTIONS, ClassWeights, LossConfig
from im_jax.losses.by_class import class_sums
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.losses.weighting import normalise, shift_to_targets, target_mask, target_weights
from im_jax.token_classes import NUM_CLASSES, TokenClass


def random_batch(seed: int, rows: int = 5, length: int = 24) -> Batch:
    """Rows of a few random examples, then padding; one row is all padding."""
    rng = np.random.default_rng(seed)
    segments = np.zeros((rows, length), np.int32)
    positions = np.zeros_like(segments)
    for row in range(rows - 1):
        start = 0
        for segment in range(1, 4):
            size = int(rng.integers(1, 9))
            segments[row, start : start + size] = segment
            positions[row, start : start + size] = np.arange(size)
            start += size
    real = segments > 0
    return Batch(
        tokens=np.where(real, rng.integers(0, 50, segments.shape), 0).astype(np.int32),
        classes=np.where(real, rng.integers(1, NUM_CLASSES, segments.shape), 0).astype(np.uint8),
        segments=segments,
        positions=positions,
        message_weights=np.where(rng.random(segments.shape) < 0.3, 0.5, 1.0).astype(np.float32),
    )


def brute_force_weights(batch: Batch, policy: LossPolicy) -> np.ndarray:
    """The definition in `losses/weighting.py`, one token at a time, in float64."""
    rows, length = batch.tokens.shape
    raw = np.zeros((rows, length))
    for r in range(rows):
        for i in range(length - 1):
            if batch.segments[r, i] == batch.segments[r, i + 1] != 0:
                raw[r, i] = policy.weights[batch.classes[r, i + 1]] * batch.message_weights[r, i + 1]
    examples = {(r, s) for r in range(rows) for s in range(1, length + 1)}
    sums = {(r, s): raw[r][batch.segments[r] == s].sum() for r, s in examples}
    trained_examples = sum(value > 0 for value in sums.values())
    out = np.zeros_like(raw)
    for r in range(rows):
        for i in range(length):
            if raw[r, i] == 0:
                continue
            match policy.reduction:
                case "token_mean":
                    out[r, i] = raw[r, i] / raw.sum()
                case "nonzero_count":
                    out[r, i] = raw[r, i] / np.count_nonzero(raw)
                case "sum":
                    out[r, i] = raw[r, i]
                case "example_mean":
                    out[r, i] = raw[r, i] / sums[r, int(batch.segments[r, i])] / trained_examples
    return out


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["it", "im", "all", "last_turn"])
def test_weights_equal_their_definition(name: str, reduction: str) -> None:
    policy = make_policy(LossConfig(policy=name, reduction=reduction, weights=ClassWeights(user=0.3)))
    for seed in range(5):
        batch = random_batch(seed)
        on_device = jax.tree.map(jnp.asarray, batch)
        weights = normalise(target_weights(on_device, policy.table()), on_device.segments, reduction)
        np.testing.assert_allclose(weights, brute_force_weights(batch, policy), rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_step_without_targets_weighs_nothing_and_is_finite(reduction: str) -> None:
    batch = jax.tree.map(jnp.asarray, random_batch(0))
    weights = normalise(jnp.zeros(batch.tokens.shape), batch.segments, reduction)
    assert not np.any(weights)


@pytest.mark.parametrize("reduction", ["token_mean", "example_mean"])
def test_means_sum_to_one_whatever_the_weights(reduction: str) -> None:
    policy = make_policy(LossConfig(policy="im", weights=ClassWeights(user=0.1, assistant=3.0)))
    batch = jax.tree.map(jnp.asarray, random_batch(3))
    total = normalise(target_weights(batch, policy.table()), batch.segments, reduction).sum()
    assert total == pytest.approx(1.0, rel=1e-6)


def test_no_target_crosses_examples_or_reaches_padding() -> None:
    segments = jnp.array([[1, 1, 1, 2, 2, 0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]])
    expected = [[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(target_mask(segments), np.array(expected, bool))


def test_a_padding_token_with_a_trained_class_still_weighs_nothing() -> None:
    batch = random_batch(1)
    batch = batch._replace(classes=np.full_like(batch.classes, TokenClass.ASSISTANT))
    on_device = jax.tree.map(jnp.asarray, batch)
    weights = target_weights(on_device, make_policy(LossConfig(policy="it")).table())
    assert not np.any(np.asarray(weights)[~np.asarray(target_mask(on_device.segments))])


def test_class_sums_count_every_target_but_measure_only_weighted_ones() -> None:
    batch = jax.tree.map(jnp.asarray, random_batch(2))
    policy = make_policy(LossConfig(policy="it"))
    weights = target_weights(batch, policy.table())
    exists, classes = target_mask(batch.segments), shift_to_targets(batch.classes)
    losses = jnp.arange(weights.size, dtype=jnp.float32).reshape(weights.shape)
    sums = class_sums(losses, classes, exists, weights)
    for c in TokenClass:
        of_class = np.asarray((classes == c) & exists)
        measured = of_class & np.asarray(weights > 0)
        assert sums.targets[c] == of_class.sum()
        assert sums.measured[c] == measured.sum()
        assert sums.nll[c] == pytest.approx(float(np.asarray(losses)[measured].sum()))
