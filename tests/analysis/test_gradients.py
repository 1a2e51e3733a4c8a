"""Gradients by token class: they add up, and say what a small step does."""

import dataclasses

import jax
import numpy as np
import pytest

from im_jax.analysis.gradients import (
    GROUPS,
    Differentiated,
    WeightedRows,
    class_gradients,
    inner,
    weighted_rows,
)
from im_jax.batch import Batch
from im_jax.config import MeshConfig
from im_jax.data.dataset import ExampleView
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import TRAINED_CLASSES
from im_jax.mesh import make_mesh
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import TokenClass
from im_jax.training.partition import everything
from tests.training.tiny import MODEL, fresh_params, random_examples

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def views(seed: int, count: int) -> list[ExampleView]:
    def view(number: int, made: Batch) -> ExampleView:
        return ExampleView(str(number), made.tokens, made.classes, made.message_weights)

    return [view(number, made) for number, made in enumerate(random_examples(seed, count))]


@pytest.fixture(scope="module")
def of() -> Differentiated:
    config = dataclasses.replace(MODEL, compute_dtype="float32")
    params = jax.tree.map(lambda x: x * 3 if x.ndim > 1 else x, fresh_params())
    mesh = make_mesh(MeshConfig())
    model = Model(params, config, make_tokenizer("bytes"), None, mesh, ShardingRules())
    return Differentiated(model, everything, rows_at_a_time=2)


@pytest.fixture(scope="module")
def train(of: Differentiated) -> WeightedRows:
    return weighted_rows(views(0, 5), "all", "token_mean", of.rows)


@pytest.fixture(scope="module")
def heldout(of: Differentiated) -> WeightedRows:
    return weighted_rows(views(1, 4), "it", "token_mean", of.rows)


def test_groups_are_what_the_policy_all_trains() -> None:
    members = [c for group in GROUPS.values() for c in group]
    assert len(members) == len(set(members)) and set(members) == TRAINED_CLASSES["all"]


def test_losses_and_gradients_of_classes_add_up(of: Differentiated, train: WeightedRows) -> None:
    whole, gradient = of.gradient(train)
    parts = [of.gradient(train.only(frozenset([c]))) for c in TokenClass]
    assert sum(value for value, _ in parts) == pytest.approx(whole, rel=1e-5)
    total = jax.tree.map(lambda *each: sum(each), *(part for _, part in parts))
    scale = max(float(np.abs(x).max()) for x in jax.tree.leaves(gradient))
    for one, other in zip(jax.tree.leaves(total), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * scale)


def test_micro_batches_change_nothing(of: Differentiated, train: WeightedRows) -> None:
    at_once = Differentiated(of._model, everything, rows_at_a_time=len(train.weights))
    (value, few), (whole, many) = of.gradient(train), at_once.gradient(train)
    assert value == pytest.approx(whole, rel=1e-5)
    products = [sum(inner(few, each).values()) for each in (few, many)]
    assert products[0] == pytest.approx(products[1], rel=1e-4)


def test_inner_products_by_layer_are_those_of_the_arrays(of: Differentiated, train: WeightedRows) -> None:
    _, gradient = of.gradient(train)
    found = inner(gradient, gradient)
    layer = sum(float(np.sum(np.asarray(x[1], np.float64) ** 2)) for x in jax.tree.leaves(gradient["layers"]))
    assert found["layer 1"] == pytest.approx(layer, rel=1e-4)
    whole = sum(float(np.sum(np.asarray(x, np.float64) ** 2)) for x in jax.tree.leaves(gradient))
    assert sum(found.values()) == pytest.approx(whole, rel=1e-4)


def test_the_predicted_change_is_the_measured_one_as_steps_get_small(
    of: Differentiated, train: WeightedRows, heldout: WeightedRows
) -> None:
    far = []
    for rate in (1e-1, 1e-2):
        found = class_gradients(of, train, heldout, rate)
        assert set(found.steps) == {"instruction", "output"}
        far.append([abs(s.measured - s.predicted) for s in found.steps.values()])
        scale = [abs(s.predicted) for s in found.steps.values()]
    # What first order leaves out falls with the square of the step.
    assert np.all(np.array(far[1]) < 0.1 * np.array(far[0]) + 1e-6)
    assert np.all(np.array(far[1]) < 0.1 * np.array(scale) + 1e-6)
    assert found.losses.keys() <= found.norms.keys()
