"""Run by test_sharding on eight devices: initial values, logits, gradients and decoding, sharded or not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from im_jax.config import ModelConfig
from im_jax.models import decoder, decoding
from im_jax.models.sharding import ShardingRules
from tests.hlo import buffers
from tests.models.reference import SMALL, random_params, variant

UNTIED = dataclasses.replace(SMALL, num_kv_heads=2)
TIED = dataclasses.replace(UNTIED, tie_embeddings=True)
GPT2 = dataclasses.replace(variant("gpt2"), max_positions=18)
# Every row holds two examples and padding.
LENGTHS = (4, 5, 3)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 48, (8, sum(LENGTHS))))
SEGMENTS = jnp.tile(np.repeat([1, 2, 0], LENGTHS), (8, 1))
POSITIONS = jnp.tile(np.concatenate([np.arange(n) for n in LENGTHS]), (8, 1))


def mesh_of(*shape: int) -> Mesh:
    return jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def check_initial_values(config: ModelConfig, mesh: Mesh) -> None:
    initialise = functools.partial(decoder.init_params, config)
    single = jax.jit(initialise)(jax.random.key(0))
    shardings = decoder.param_shardings(config, mesh)
    sharded = jax.jit(initialise, out_shardings=shardings)(jax.random.key(0))
    # The same random bits; making them normal may round differently in another program.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=3e-7, atol=0), sharded, single)
    shard = sharded["embedding"].addressable_shards[0].data
    assert shard.shape == (48 // mesh.shape["tensor"], 32 // mesh.shape["fsdp"])


def check_logits_and_gradients(config: ModelConfig, mesh: Mesh) -> None:
    def loss(params: decoder.Params, *batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = decoder.logits(params, config, *batch)
        return jnp.mean(jnp.square(logits)), logits

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    params, batch = random_params(config), (TOKENS, SEGMENTS, POSITIONS)
    single = step(params, *batch)
    rows = NamedSharding(mesh, ShardingRules().spec(("batch", "length")))
    spread = jax.device_put(params, decoder.param_shardings(config, mesh))
    with jax.set_mesh(mesh):
        sharded = step(spread, *jax.device_put(batch, rows))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=2e-5), sharded, single)


def check_decoding(config: ModelConfig, mesh: Mesh) -> None:
    """With three rows, fewer than devices: decoding takes any number of them."""
    params = random_params(config)
    prompts, lengths = TOKENS[:3], np.array([2, 9, 12])
    single = decoding.greedy(params, config, prompts, lengths, 5, [7])
    with jax.set_mesh(mesh):
        spread = jax.device_put(params, decoder.param_shardings(config, mesh))
        sharded = decoding.greedy(spread, config, prompts, lengths, 5, [7])
    jax.tree.map(np.testing.assert_array_equal, sharded, single)


def check_kept_inputs_are_split(length: int, kept: int) -> None:
    """Of a layer's input each tensor device keeps some positions, where they divide."""
    layers = 9  # more than a CPU unrolls
    config = dataclasses.replace(UNTIED, num_layers=layers, remat="full")
    mesh = mesh_of(1, 4, 2)

    def loss(params: decoder.Params, *batch: jax.Array) -> jax.Array:
        return jnp.sum(decoder.hidden_states(params, config, *batch))

    rows = NamedSharding(mesh, ShardingRules().spec(("batch",)))
    ids = jax.ShapeDtypeStruct((8, length), jnp.int32, sharding=rows)
    shardings = decoder.param_shardings(config, mesh)
    params = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        decoder.abstract_params(config),
        shardings,
    )
    with jax.set_mesh(mesh):
        step = jax.jit(jax.grad(loss), out_shardings=shardings)
        program = step.lower(params, ids, ids, ids).compile().as_text()
    stacked = {shape for shape in buffers(program, "f32") if shape[:2] == (layers, 2) and shape[3:] == (32,)}
    assert stacked == {(layers, 2, kept, 32)}, stacked


if __name__ == "__main__":
    check_initial_values(UNTIED, mesh_of(2, 2, 2))
    check_logits_and_gradients(UNTIED, mesh_of(2, 2, 2))
    check_logits_and_gradients(TIED, mesh_of(1, 4, 2))
    check_decoding(TIED, mesh_of(1, 4, 2))
    check_initial_values(GPT2, mesh_of(2, 2, 2))
    check_logits_and_gradients(GPT2, mesh_of(2, 2, 2))
    check_decoding(GPT2, mesh_of(1, 4, 2))
    check_kept_inputs_are_split(length=12, kept=6)
    check_kept_inputs_are_split(length=13, kept=13)
    print(f"same on {jax.device_count()} devices")
