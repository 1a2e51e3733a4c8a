"""The last block of needed tokens alone: what is read of it equals that of all tokens, for less work."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import ModelConfig
from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.sharded import LossAxes
from im_jax.models import decoder, last_block, needed
from im_jax.models.attention import few
from im_jax.models.sharding import ShardingRules
from tests.jaxpr import equations, product_flops
from tests.models.reference import SMALL, random_params, variant
from tests.subprocess_devices import run_on_devices

LENGTH = 24
ROWS = 3
TOKENS = ROWS * LENGTH
BLOCK = 8
MODELS: dict[str, ModelConfig] = {
    "tied": dataclasses.replace(SMALL, tie_embeddings=True),
    "grouped_window": dataclasses.replace(SMALL, num_kv_heads=2, sliding_window=7),
    "one_layer": dataclasses.replace(SMALL, num_layers=1),
    "scanned": dataclasses.replace(SMALL, num_layers=9),
    "gpt2": dataclasses.replace(variant("gpt2"), max_positions=LENGTH),
}


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of the tests are worth it."""
    monkeypatch.setattr(last_block, "LEAST_PARAMETERS", 0)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of which the needed tokens of the tests fill several."""
    monkeypatch.setattr(needed, "BLOCK", BLOCK)
    monkeypatch.setattr(few, "BLOCK", 4)


def batch_of(rows: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random tokens, with segments and positions: three examples a row, one of a single token, and padding."""
    lengths = (10, 1, 9, 4)
    tokens = np.random.default_rng(1).integers(0, 48, (rows, LENGTH))
    segments = np.tile(np.repeat([1, 2, 3, 0], lengths), (rows, 1))
    positions = np.tile(np.concatenate([np.arange(n) for n in lengths]), (rows, 1))
    return jnp.asarray(tokens), jnp.asarray(segments), jnp.asarray(positions)


def mask_of(count: int) -> jax.Array:
    """As many needed tokens at random places."""
    mask = np.zeros(TOKENS, bool)
    mask[np.random.default_rng(count).permutation(TOKENS)[:count]] = True
    return jnp.asarray(mask.reshape(ROWS, LENGTH))


def loss_and_gradients(
    config: ModelConfig, params: decoder.Params, *batch: jax.Array, apart: bool
) -> tuple[jax.Array, decoder.Params]:
    """Of the next tokens of the needed ones (the last of the batch's arrays), each with a weight of its own."""
    tokens, segments, positions, mask = batch
    weights = jnp.where(mask, jnp.linspace(0.5, 2, mask.size).reshape(mask.shape), 0) / mask.size

    def loss(params: decoder.Params) -> jax.Array:
        hidden = decoder.hidden_states(
            params, config, tokens, segments, positions, needed=mask if apart else None
        )
        return linear_cross_entropy(
            hidden.reshape(-1, hidden.shape[-1]),
            decoder.head_matrix(params, config),
            jnp.roll(tokens, -1, axis=1).reshape(-1),
            weights.reshape(-1),
            axes=LossAxes(tokens=("replica", "fsdp"), vocab=("tensor",), embed=("fsdp",)),
        )[0]

    return jax.value_and_grad(loss)(params)


def compiled(config: ModelConfig, *, apart: bool) -> Any:
    return jax.jit(functools.partial(loss_and_gradients, config, apart=apart))


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Relative to the largest gradient of all: some are 0 but for rounding, as that of a key's bias."""
    scale = max(float(np.abs(x).max()) for x in jax.tree.leaves(expected))
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_needed_tokens_equals_all_tokens_by_one_program(name: str) -> None:
    config = MODELS[name]
    params, batch = random_params(config), batch_of(ROWS)
    apart, plain = compiled(config, apart=True), compiled(config, apart=False)
    half = TOKENS // 2
    for count in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, half - 1, half, half + 1, TOKENS):
        mask = mask_of(count)
        assert_close(apart(params, *batch, mask), plain(params, *batch, mask), 2e-6)
    assert apart._cache_size() == 1


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("remat", ["dots", "full"])
def test_recomputation_changes_nothing(remat: str) -> None:
    config, kept = (dataclasses.replace(MODELS["one_layer"], remat=policy) for policy in (remat, "none"))
    params, batch = random_params(config), batch_of(ROWS)
    recomputed, plain = compiled(config, apart=True), compiled(kept, apart=False)
    for mask in map(mask_of, (0, 13, 60)):
        assert_close(recomputed(params, *batch, mask), plain(params, *batch, mask), 2e-6)


@pytest.mark.usefixtures("small_blocks")
def test_types_narrower_than_float32_add_up_in_float32() -> None:
    config = dataclasses.replace(MODELS["one_layer"], compute_dtype="bfloat16", param_dtype="bfloat16")
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), random_params(config))
    batch = (*batch_of(ROWS), mask_of(36))
    found = compiled(config, apart=True)(params, *batch)
    expected = compiled(config, apart=False)(params, *batch)
    wide = [jax.tree.map(lambda x: x.astype(jnp.float32), tree) for tree in (found, expected)]
    assert_close(*wide, 1e-2)
    assert {x.dtype for x in jax.tree.leaves(found[1])} == {jnp.dtype(jnp.bfloat16)}


def test_a_state_that_is_read_is_the_same_without_a_gradient() -> None:
    params, batch = random_params(SMALL), batch_of(ROWS)
    everywhere = decoder.hidden_states(params, SMALL, *batch)
    for count in (0, 5, 60):
        mask = mask_of(count)
        found = decoder.hidden_states(params, SMALL, *batch, needed=mask)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[mask], everywhere[mask], rtol=0, atol=1e-5)


def test_trips_follow_the_pool_that_needs_most() -> None:
    for count in (0, 1, 255, 256, 257, 512, 1024, 1025, 2048):
        mask = np.zeros((4, 512), bool)
        mask.reshape(-1)[:count] = True
        found = needed.find(jnp.asarray(mask), ShardingRules())
        assert bool(found.few) == (count <= 1024)
        if found.few:
            assert found.trips == -(-count // 256)
            np.testing.assert_array_equal(found.order[0, :count], np.flatnonzero(mask))
            assert (found.order[0, count:] == mask.size).all()


def test_a_trip_multiplies_a_block_and_nothing_is_computed_twice_where_all_are() -> None:
    """Of 2048 tokens, a block of 256 takes an eighth of what the block behind its keys and values takes."""
    config = dataclasses.replace(SMALL, num_layers=1)
    row = jax.ShapeDtypeStruct((4, 512), jnp.int32)
    mask = jax.ShapeDtypeStruct((4, 512), jnp.bool_)
    params = decoder.abstract_params(config)

    def hidden(params: decoder.Params, *batch: jax.Array, apart: bool) -> jax.Array:
        chosen = {"needed": batch[3]} if apart else {}
        return jnp.sum(decoder.hidden_states(params, config, *batch[:3], **chosen))

    def traced(apart: bool) -> Any:
        gradient = jax.value_and_grad(functools.partial(hidden, apart=apart))
        return jax.make_jaxpr(gradient)(params, row, row, row, mask)

    plain, apart = traced(False), traced(True)
    conditions = [e for e, _ in equations(apart.jaxpr) if e.primitive.name == "cond"]
    branches = [[product_flops(branch, batched=False) for branch in e.params["branches"]] for e in conditions]
    of_all, of_a_block = (sum(flops) for flops in zip(*branches, strict=True))
    keys_and_values = 3 * 2 * 2 * 2048 * 32 * 32
    assert of_all == product_flops(plain, batched=False) - keys_and_values
    # The backward pass makes the products with weights again.
    assert of_a_block < of_all / 8 * 3 / 2
    whole, in_blocks = (
        sum(product_flops(e.params["branches"][branch], batched=True) for e in conditions)
        for branch in (0, 1)
    )
    assert in_blocks < whole / 4


def test_other_attention_than_in_blocks_computes_all() -> None:
    config, batch = dataclasses.replace(SMALL, attention="full"), batch_of(ROWS)
    params = random_params(config)
    found = decoder.hidden_states(params, config, *batch, needed=mask_of(5))
    np.testing.assert_array_equal(found, decoder.hidden_states(params, config, *batch))


def test_a_small_block_is_computed_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    params, batch = random_params(SMALL), batch_of(ROWS)
    found = decoder.hidden_states(params, SMALL, *batch, needed=mask_of(5))
    np.testing.assert_array_equal(found, decoder.hidden_states(params, SMALL, *batch))


def test_eight_devices_compute_what_one_does() -> None:
    assert "same on 8 devices" in run_on_devices("tests.models.check_sharded_last_block")
