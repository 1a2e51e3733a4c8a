"""The feed-forward in parts: the same sum, the same gradients, no more products, less in memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import ClosedJaxpr
from jax.interpreters.partial_eval import dce_jaxpr

from im_jax.config import ModelConfig
from im_jax.models import mlp, parts
from im_jax.models.block import rematerialised
from im_jax.models.decoder import DEFAULT_RULES
from im_jax.models.mlp import FeedForward, make_mlp
from im_jax.models.sharding import ShardingRules
from tests.jaxpr import product_flops
from tests.subprocess_devices import run_on_devices

COUNT = 4
KINDS = [("swiglu", "none"), ("gelu", "all"), ("swiglu", "all")]


def feed_forward(name: str, biases: str, rules: ShardingRules = DEFAULT_RULES) -> FeedForward:
    """A small one whose biases are not 0."""
    config = ModelConfig(embed_dim=16, mlp_dim=48, mlp=name, biases=biases, remat="full")
    layer = make_mlp(config, rules, rngs=nnx.Rngs(0))
    graph, params = nnx.split(layer)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return nnx.merge(graph, jax.tree.unflatten(structure, drawn))


def run(layer: FeedForward, count: int, dtype: str) -> tuple[Any, ...]:
    """Value, and gradients of parameters and of the input, in so many parts."""
    graph, params = nnx.split(layer)
    keys = jax.random.split(jax.random.key(2))
    x, dy = (jax.random.normal(key, (8, 6, 16)).astype(dtype) for key in keys)

    @jax.jit
    def differentiated(params: Any, x: jax.Array, dy: jax.Array) -> tuple[Any, ...]:
        y, pull_back = jax.vjp(lambda params, x: nnx.merge(graph, params)(x), params, x)
        return y, *pull_back(dy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlp, "num_parts", lambda *_: count)
        return differentiated(params, x, dy)


def differences(layer: FeedForward, count: int, dtype: str = "float32") -> list[float]:
    """Of each result in parts from the same in one product in float32, relative to its size."""
    found, expected = (jax.tree.leaves(run(layer, *how)) for how in ((count, dtype), (1, "float32")))
    return [
        float(np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b))
        for a, b in zip(found, (np.asarray(each, np.float64) for each in expected), strict=True)
    ]


@pytest.mark.parametrize(("name", "biases"), KINDS)
def test_parts_are_the_whole_in_values_and_gradients(name: str, biases: str) -> None:
    layer = feed_forward(name, biases)
    for count in (2, COUNT, 48):
        assert max(differences(layer, count)) < 2e-6


@pytest.mark.parametrize(("name", "biases"), KINDS)
def test_parts_in_bfloat16_are_as_near_to_float32_as_the_whole(name: str, biases: str) -> None:
    layer = feed_forward(name, biases)
    whole, cut = (differences(layer, count, "bfloat16") for count in (1, COUNT))
    for without, with_parts in zip(whole, cut, strict=True):
        assert with_parts < 1.25 * without + 2**-9


def test_parts_on_meshes_are_the_whole() -> None:
    assert run_on_devices("tests.models.check_sharded_parts").count("equal") == 4


@pytest.mark.parametrize("name", ["swiglu", "gelu"])
def test_parts_cost_no_product_more_than_recomputing_the_block(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, params = nnx.split(feed_forward(name, "none"))

    def flops(count: int) -> int:
        monkeypatch.setattr(mlp, "num_parts", lambda *_: count)
        layer = rematerialised(lambda params, x: x + nnx.merge(graph, params)(x), "full")
        gradient = jax.grad(lambda params, x: jnp.sum(layer(params, x) ** 2), argnums=(0, 1))
        jaxpr = jax.make_jaxpr(gradient)(params, jnp.ones((2, 3, 16))).jaxpr
        # As compilers do: what nothing reads is not computed.
        used, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
        return product_flops(ClosedJaxpr(used, []))

    assert flops(COUNT) == flops(1)


def test_only_large_arrays_on_tpus_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def number(rows: int, columns: int, rules: ShardingRules = DEFAULT_RULES) -> int:
        return parts.num_parts((rows, 2048, columns), jnp.dtype("bfloat16"), rules)

    assert number(20, 11008) == 1
    monkeypatch.setattr(parts, "platform", lambda: "tpu")
    assert [number(rows, 11008) for rows in (1, 2, 4, 20)] == [1, 2, 4, 4]
    assert number(20, 13824) == 4 and number(20, 2048) == 1
    # 4097 is odd: no part would be like another.
    assert number(20, 4097) == 1


def test_evaluation_in_parts_keeps_the_type() -> None:
    layer = feed_forward("swiglu", "all")
    x = jnp.ones((1, 2, 16), jnp.bfloat16)
    whole = functools.partial(run, layer, dtype="bfloat16")
    assert whole(1)[0].dtype == whole(COUNT)[0].dtype == x.dtype
