"""Operations by walking a program = counted by hand, and a whole step = the analytic count."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AxisType, PartitionSpec

from im_jax import mesh as meshes
from im_jax.config import Config, MeshConfig
from im_jax.loops import bounded_loop
from im_jax.models import counts
from im_jax.models.sharding import ShardingRules
from im_jax.pods.flops import Flops, count_flops
from im_jax.training.program import abstract_arguments, make_program
from tests.training.tiny import tiny_config

A, B = jnp.zeros((3, 5)), jnp.zeros((5, 7))
PRODUCT = 2 * 3 * 5 * 7


def counted(f, *inputs) -> int:
    found = count_flops(jax.make_jaxpr(f)(*inputs))
    assert found.kernels == 0
    return found.all


def test_products_and_convolutions_by_hand() -> None:
    assert counted(jnp.dot, A, B) == PRODUCT
    assert counted(lambda x: x + jnp.sin(x), A) == 0
    batched = jnp.zeros((4, 3, 5)), jnp.zeros((4, 5, 7))
    assert counted(jnp.matmul, *batched) == 4 * PRODUCT
    image, kernel = jnp.zeros((2, 3, 8, 8)), jnp.zeros((5, 3, 3, 3))
    convolved = functools.partial(jax.lax.conv, window_strides=(1, 1), padding="VALID")
    assert counted(convolved, image, kernel) == 2 * (2 * 5 * 6 * 6) * (3 * 3 * 3)


def test_gradients_are_twice_the_forward_pass() -> None:
    both = jax.value_and_grad(lambda a, b: jnp.dot(a, b).sum(), argnums=(0, 1))
    assert counted(both, A, B) == 3 * PRODUCT


def test_a_scan_counts_as_often_as_it_is_long_also_inside_another_and_in_functions() -> None:
    def inner(total, _):
        return total + jax.jit(jnp.dot)(A, B), None

    def outer(total, _):
        return jax.lax.scan(inner, total, None, length=4)[0], None

    assert counted(lambda: jax.lax.scan(outer, jnp.zeros((3, 7)), None, length=6)[0]) == 24 * PRODUCT
    repeated = jax.checkpoint(lambda a: jnp.dot(a, B))
    assert counted(repeated, A) == PRODUCT


def test_a_loop_on_data_counts_as_often_as_its_name_says_else_once() -> None:
    def body(_, total):
        return total + jnp.dot(A, B)

    zeros = jnp.zeros((3, 7))
    assert counted(lambda n: jax.lax.fori_loop(0, n, body, zeros), 9) == PRODUCT
    assert counted(lambda n: bounded_loop(n, 12, body, zeros), 9) == 12 * PRODUCT
    inside = jax.jit(
        jax.value_and_grad(lambda x, n: x * bounded_loop(n, 5, lambda i, t: t + jnp.dot(A, B).sum(), 0.0))
    )
    assert counted(inside, 1.0, 3) == 5 * PRODUCT


def test_the_dearest_branch_counts() -> None:
    def choose(which):
        return jax.lax.switch(
            which, [lambda: A @ B, lambda: (A @ B) @ jnp.zeros((7, 7)), lambda: jnp.zeros((3, 7))]
        )

    assert counted(choose, 1) == PRODUCT + 2 * 3 * 7 * 7


def test_what_runs_on_each_device_counts_for_each() -> None:
    mesh = jax.sharding.AbstractMesh((4, 2), ("fsdp", "tensor"), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec("fsdp")
    with jax.sharding.use_abstract_mesh(mesh):
        f = jax.shard_map(lambda a: a @ B, in_specs=spec, out_specs=spec, check_vma=False)
        assert count_flops(jax.make_jaxpr(f)(jnp.zeros((12, 5)))).all == 8 * PRODUCT


def test_kernels_count_each_step_of_their_grid() -> None:
    def kernel(a, b, out):
        out[...] = jnp.dot(a[...], b[...])

    call = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((12, 7), jnp.float32),
        grid=(4,),
        in_specs=[pl.BlockSpec((3, 5), lambda i: (i, 0)), pl.BlockSpec((5, 7), lambda i: (0, 0))],
        out_specs=pl.BlockSpec((3, 7), lambda i: (i, 0)),
        interpret=True,
    )
    assert count_flops(jax.make_jaxpr(call)(jnp.zeros((12, 5)), B)) == Flops(4 * PRODUCT, 4 * PRODUCT)


def step_flops(config: Config) -> int:
    mesh, rules = meshes.make_mesh(MeshConfig(), jax.devices()[:1]), ShardingRules()
    program = make_program(config, mesh, rules, 10)
    with jax.set_mesh(mesh):
        traced = program.train_step.trace(*abstract_arguments(config, program, mesh, rules))
    return count_flops(traced.jaxpr).all


def large(**model) -> Config:
    """A model whose products outweigh the rest, which is only traced."""
    sizes = {
        "num_layers": 3,
        "embed_dim": 256,
        "mlp_dim": 704,
        "num_heads": 8,
        "num_kv_heads": 2,
        "vocab_size": 4096,
    }
    config = tiny_config(**sizes, remat="none", attention="full", compute_dtype="bfloat16")
    config.model = dataclasses.replace(config.model, **model)
    config.data.max_length, config.train.batch_size = 1024, 8
    return config


@pytest.mark.parametrize(
    "model", [{}, {"tie_embeddings": True}, {"mlp": "gelu", "norm": "layer"}], ids=["plain", "tied", "gelu"]
)
def test_a_step_is_within_five_percent_of_the_analytic_count(model) -> None:
    config = large(**model)
    expected = 8 * 1024 * counts.flops_per_token(config.model, 1024)
    assert step_flops(config) == pytest.approx(expected, rel=0.05)


def test_micro_batches_do_the_same_work_and_recomputation_another_forward_pass() -> None:
    plain, cut, again = large(), large(), large(remat="full")
    cut.train.accumulate = 4
    once = step_flops(plain)
    assert step_flops(cut) == once
    model, tokens = plain.model, 8 * 1024
    layers = tokens * counts.flops_per_token(model, 1024) - 6 * tokens * model.embed_dim * model.vocab_size
    # Of a layer that is computed again nobody reads the end, so its last product is not.
    last = 2 * tokens * model.num_layers * model.mlp_dim * model.embed_dim
    assert step_flops(again) - once == pytest.approx(layers / 3 - last, rel=0.02)
