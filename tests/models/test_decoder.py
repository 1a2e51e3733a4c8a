"""The decoder against float64 NumPy, and what training relies on: packing, remat, one compilation."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from im_jax.config import ModelConfig, RopeScaling
from im_jax.errors import ConfigError
from im_jax.models import counts, decoder, presets, rotary
from tests.jaxpr import equations, product_flops
from tests.models.reference import SMALL, VARIANTS, random_params, reference_logits, variant

pytestmark = pytest.mark.filterwarnings("error::DeprecationWarning:im_jax")

TOKENS = np.random.default_rng(1).integers(0, 48, 14)
ROW = jnp.asarray(TOKENS)[None]
# Three examples in one row, then padding.
LENGTHS = (5, 1, 6)
SEGMENTS = jnp.array([[1] * 5 + [2] + [3] * 6 + [0, 0]])
POSITIONS = jnp.array([[*range(5), 0, *range(6), 0, 0]])


def alone(tokens: np.ndarray, padding: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Tokens, segments and positions of a row with one example and some padding."""
    row = tokens, np.ones(len(tokens), np.int32), np.arange(len(tokens))
    tokens, segments, positions = (jnp.pad(jnp.asarray(part), (0, padding))[None] for part in row)
    return tokens, segments, positions


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_equal_the_float64_reference(name: str) -> None:
    config = variant(name)
    params = random_params(config)
    ours = decoder.logits(params, config, *alone(TOKENS))[0]
    expected = reference_logits(params, config, TOKENS)
    assert np.abs(expected).max() > 1  # there is something to compare
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["plain", "window"])
def test_examples_packed_in_a_row_give_what_they_give_alone(name: str) -> None:
    config = variant(name)
    params = random_params(config)
    packed = decoder.hidden_states(params, config, ROW, SEGMENTS, POSITIONS)[0]
    start = 0
    for length in LENGTHS:
        padded = decoder.hidden_states(params, config, *alone(TOKENS[start : start + length], padding=4))[0]
        np.testing.assert_allclose(packed[start : start + length], padded[:length], rtol=0, atol=5e-6)
        start += length
    assert np.isfinite(packed).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_of_padding_is_finite_forward_and_backward(dtype: str) -> None:
    config = dataclasses.replace(SMALL, sliding_window=2, compute_dtype=dtype)
    nothing = jnp.zeros((1, 6), jnp.int32)

    def total(params: decoder.Params) -> jax.Array:
        return decoder.hidden_states(params, config, nothing, nothing, nothing).astype(jnp.float32).sum()

    value, gradients = jax.value_and_grad(total)(random_params(config))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_later_tokens_and_other_segments_change_nothing() -> None:
    params = random_params(SMALL)
    before = decoder.hidden_states(params, SMALL, ROW, SEGMENTS, POSITIONS)[0]
    changed = ROW.at[0, 3:6].set((ROW[0, 3:6] + 1) % 48)  # the end of the first example, all of the second
    after = decoder.hidden_states(params, SMALL, changed, SEGMENTS, POSITIONS)[0]
    np.testing.assert_array_equal(before[:3], after[:3])
    np.testing.assert_array_equal(before[6:12], after[6:12])
    assert (before[3:6] != after[3:6]).any(axis=-1).all()


def test_remat_policies_give_the_same_gradients() -> None:
    params = random_params(SMALL)

    def gradients(remat: str) -> decoder.Params:
        config = dataclasses.replace(SMALL, remat=remat)

        def loss(params: decoder.Params) -> jax.Array:
            logits = decoder.logits(params, config, ROW, SEGMENTS, POSITIONS)
            return jnp.mean(jnp.square(logits))

        return jax.jit(jax.grad(loss))(params)

    plain = gradients("none")
    for remat in ("full", "dots"):
        for ours, expected in zip(jax.tree.leaves(gradients(remat)), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_remat_recomputes_what_it_says() -> None:
    """`full` recomputes products, `dots` only those of attention, which no weight is in."""

    def flops(remat: str, batched: bool) -> int:
        config = dataclasses.replace(SMALL, remat=remat, attention="full")

        def loss(params: decoder.Params) -> jax.Array:
            return jnp.sum(decoder.hidden_states(params, config, ROW, SEGMENTS, POSITIONS))

        traced = jax.make_jaxpr(jax.value_and_grad(loss))(random_params(config))
        return product_flops(traced, batched=batched)

    with_weights = {remat: flops(remat, batched=False) for remat in ("none", "dots", "full")}
    of_attention = {remat: flops(remat, batched=True) for remat in ("none", "dots", "full")}
    assert with_weights["none"] == with_weights["dots"] < with_weights["full"]
    assert of_attention["none"] < of_attention["dots"] == of_attention["full"]


def test_layers_keep_no_mask_of_all_rows() -> None:
    """It would be as large as the scores that attention does not keep, if of bytes."""
    rows, length = 8, 512
    config = dataclasses.replace(SMALL, attention="blocks")
    batch = [jax.ShapeDtypeStruct((rows, length), jnp.int32)] * 3

    def total(params: decoder.Params, *batch: jax.Array) -> jax.Array:
        return jnp.sum(decoder.hidden_states(params, config, *batch))

    traced = jax.make_jaxpr(jax.grad(total))(decoder.abstract_params(config), *batch)
    masks = {
        x.aval.shape for each, _ in equations(traced.jaxpr) for x in each.outvars if x.aval.dtype == bool
    }
    assert masks and all(math.prod(shape) <= config.num_heads * length * length for shape in masks)


def test_gradients_are_the_slopes_of_the_float64_reference() -> None:
    config = variant("grouped")
    params = random_params(config)
    direction = random_params(config, seed=1)

    def loss(params: decoder.Params) -> jax.Array:
        return jnp.mean(jnp.square(decoder.logits(params, config, *alone(TOKENS))))

    def exact(tree: decoder.Params) -> decoder.Params:
        return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)

    gradients, point, direction = map(exact, (jax.grad(loss)(params), params, direction))
    slopes = jax.tree.leaves(jax.tree.map(lambda g, d: np.sum(g * d), gradients, direction))
    step = 1e-6

    def moved(sign: int) -> float:
        there = jax.tree.map(lambda p, d: p + sign * step * d, point, direction)
        return float(np.mean(np.square(reference_logits(there, config, TOKENS))))

    expected = (moved(1) - moved(-1)) / (2 * step)
    assert abs(sum(slopes) - expected) < 1e-5 * np.abs(slopes).sum()


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_gradients() -> None:
    config = dataclasses.replace(SMALL, compute_dtype="bfloat16")
    params = random_params(config)
    hidden = decoder.hidden_states(params, config, *alone(TOKENS))
    exact = decoder.hidden_states(params, SMALL, *alone(TOKENS))
    assert hidden.dtype == jnp.bfloat16
    assert np.corrcoef(np.float32(hidden).ravel(), exact.ravel())[0, 1] > 0.999
    gradients = jax.grad(lambda p: decoder.logits(p, config, *alone(TOKENS)).sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


def test_batches_of_one_shape_compile_once_and_layers_do_not_grow_the_program() -> None:
    def program(num_layers: int) -> tuple[Any, Any]:
        config = dataclasses.replace(SMALL, num_layers=num_layers)
        return random_params(config), jax.jit(
            lambda params, *batch: decoder.hidden_states(params, config, *batch)
        )

    params, hidden = program(2)
    hidden(params, ROW, SEGMENTS, POSITIONS)
    hidden(params, ROW[:, ::-1], SEGMENTS[:, ::-1], POSITIONS)
    assert hidden._cache_size() == 1
    deep, deeper = (
        len(function.lower(params, ROW, SEGMENTS, POSITIONS).as_text().splitlines())
        for params, function in (program(9), program(20))
    )
    assert deep == deeper


def test_a_configuration_that_changes_has_another_graph() -> None:
    config = variant("grouped")
    graph = decoder.decoder_graph(config)
    assert decoder.decoder_graph(dataclasses.replace(config)) is graph
    config.rope_theta *= 2
    changed = decoder.decoder_graph(config)
    assert changed != graph
    tokens = jnp.arange(8)[None]
    params = random_params(config)
    hidden = [nnx.merge(g, params)(tokens, jnp.ones_like(tokens), tokens) for g in (graph, changed)]
    assert np.abs(hidden[0] - hidden[1]).max() > 1e-3


def test_initial_values_follow_the_key_and_the_recipe() -> None:
    config = presets.debug()
    config.vocab_size = 259
    initialise = jax.jit(functools.partial(decoder.init_params, config))
    params = initialise(jax.random.key(3))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda x: x.shape, decoder.abstract_params(config))
    other = initialise(jax.random.key(4))
    assert not np.array_equal(params["embedding"], other["embedding"])
    attention, mlp = params["layers"]["attention"], params["layers"]["mlp"]
    for matrix in (params["embedding"], params["head"], attention["query"], attention["key"], mlp["up"]):
        assert math.isclose(np.std(matrix), 0.02, rel_tol=0.02)
    for matrix in (attention["output"], mlp["down"]):
        assert math.isclose(np.std(matrix), 0.02 / math.sqrt(2 * config.num_layers), rel_tol=0.02)
    assert np.all(params["layers"]["mlp_norm"]["scale"] == 1)
    assert not np.array_equal(attention["query"][0], attention["query"][1])


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (presets.tinyllama_1b, 1_100_048_384),
        (presets.llama2_7b, 6_738_415_616),
        (presets.llama2_13b, 13_015_864_320),
        (presets.llama3_8b, 8_030_261_248),
        (presets.mistral_7b, 7_241_732_096),
    ],
)
def test_named_models_have_their_published_number_of_parameters(preset: Any, expected: int) -> None:
    assert counts.num_params(preset()) == expected


@pytest.mark.parametrize(("preset", "expected"), [(presets.debug, 0.8e6), (presets.small, 3e6)])
def test_own_models_have_about_the_size_they_say(preset: Any, expected: float) -> None:
    config = dataclasses.replace(preset(), vocab_size=259)
    assert math.isclose(counts.num_params(config), expected, rel_tol=0.05)


def test_flops_agree_with_the_compiler() -> None:
    """XLA counts a scan's body once, so the comparison takes one layer."""
    config = dataclasses.replace(SMALL, num_layers=1, embed_dim=128, mlp_dim=256, num_kv_heads=2)
    params, length = random_params(config), 64
    row = jnp.zeros((1, length), jnp.int32)

    def loss(params: decoder.Params) -> jax.Array:
        return decoder.logits(params, config, row, row + 1, row).sum()

    cost: Any = jax.jit(jax.grad(loss)).lower(params).compile().cost_analysis()
    ours = counts.flops_per_token(config, length) * length
    assert ours < cost["flops"] < 1.2 * ours


def test_a_step_computes_the_cosines_of_its_positions_once() -> None:
    config = dataclasses.replace(SMALL, num_layers=3)
    params = random_params(config)

    def loss(params: decoder.Params) -> jax.Array:
        return decoder.logits(params, config, ROW, SEGMENTS, POSITIONS).sum()

    program = jax.jit(jax.value_and_grad(loss)).lower(params).compile().as_text()
    assert program.count(" cosine(") == 1


def test_llama3_scaling_keeps_fast_pairs_and_slows_slow_ones() -> None:
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
    plain = rotary.frequencies(128, 500000.0, RopeScaling())
    scaled = rotary.frequencies(128, 500000.0, scaling)
    np.testing.assert_array_equal(scaled[:20], plain[:20])
    np.testing.assert_allclose(scaled[-20:], plain[-20:] / 8)
    assert np.all(np.diff(scaled) < 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": None}, "model.vocab_size is not resolved"),
        ({"num_kv_heads": 3}, "model.num_heads 4 is not a multiple of model.num_kv_heads 3"),
        ({"embed_dim": 30}, "model.embed_dim 30 is not a multiple of model.num_heads 4"),
        ({"head_dim": 7}, "model.head_dim 7 is odd"),
        ({"rope_scaling": RopeScaling("su")}, "model.rope_scaling.kind is 'su'"),
    ],
)
def test_impossible_models_are_refused(change: dict[str, Any], message: str) -> None:
    config: ModelConfig = dataclasses.replace(SMALL, **change)
    with pytest.raises(ConfigError, match=message):
        decoder.abstract_params(config)
