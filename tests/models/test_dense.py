"""Products with weights: values, gradients, and the form that they are compiled in."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.models import decoder
from im_jax.models.dense import dense
from tests.subprocess_devices import run_on_devices
from tests.training.tiny import tiny_config

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (4, 33, 24, 40), (2, 64, 40, 24), (1, 129, 256, 688), (3, 1, 16, 1)]
TOLERANCE = {"float32": 2e-6, "bfloat16": 1e-2}  # bfloat16: one rounding of a result, 2^-8, and its operands


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(shape: tuple[int, ...], dtype: str) -> None:
    rows, length, dim, width = shape
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((rows, length, dim)), dtype)
    weight = jnp.asarray(rng.standard_normal((dim, width)), jnp.float32)
    dy = jnp.asarray(rng.standard_normal((rows, length, width)), dtype)

    def run(x: jax.Array, weight: jax.Array, dy: jax.Array) -> tuple[jax.Array, ...]:
        y, pull_back = jax.vjp(dense, x, weight)
        d_x, d_weight = pull_back(dy)
        return y, d_x, d_weight

    results = jax.jit(run)(x, weight, dy)
    wide_x, wide_weight, wide_dy = (
        np.asarray(a.astype(jnp.float32), np.float64) for a in (x, weight.astype(dtype), dy)
    )
    expected = (
        wide_x @ wide_weight,
        wide_dy @ wide_weight.T,
        np.einsum("bld,blf->df", wide_x, wide_dy),
    )
    assert [str(result.dtype) for result in results] == [dtype, dtype, "float32"]
    for result, value in zip(results, expected, strict=True):
        error = np.max(np.abs(np.asarray(result, np.float64) - value)) / np.max(np.abs(value))
        assert error < TOLERANCE[dtype]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sizes", [(24, 3, 1, 40, 101, 33), (64, 4, 2, 100, 300, 257)])
def test_gradients_of_a_bfloat16_model_of_any_size(sizes: tuple[int, ...], tied: bool) -> None:
    """Near those in float32, of sizes that kernels for bfloat16 do not take and where one is transposed, too."""
    embed, heads, groups, mlp, vocab, length = sizes
    model = tiny_config(
        compute_dtype="bfloat16",
        embed_dim=embed,
        num_heads=heads,
        num_kv_heads=groups,
        mlp_dim=mlp,
        vocab_size=vocab,
        tie_embeddings=tied,
    ).model
    params = jax.jit(lambda key: decoder.init_params(model, key))(jax.random.key(0))
    tokens = jnp.arange(length)[None] % vocab
    labels = (3 * tokens[0] + 1) % vocab

    def loss(params: decoder.Params, compute_dtype: str) -> jax.Array:
        config = dataclasses.replace(model, compute_dtype=compute_dtype)
        positions = jnp.arange(length)[None]
        hidden = decoder.hidden_states(params, config, tokens, jnp.ones_like(tokens), positions)
        head = decoder.head_matrix(params, config)
        return linear_cross_entropy(hidden[0], head, labels, jnp.full(length, 1 / length))[0]

    run = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    (value, gradient), (wide_value, wide_gradient) = run(params, "bfloat16"), run(params, "float32")
    assert abs(float(value - wide_value)) < 0.02
    for narrow, wide in zip(jax.tree.leaves(gradient), jax.tree.leaves(wide_gradient), strict=True):
        error = np.linalg.norm(narrow - wide) / np.linalg.norm(wide)
        assert error < 0.05


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about the compiler's kernels for CPUs")
def test_no_product_of_a_bfloat16_model_is_widened() -> None:
    """XLA multiplies bfloat16 as float32, at half the speed, where an operand does not lie row by row."""
    model = tiny_config(
        compute_dtype="bfloat16", embed_dim=64, mlp_dim=172, num_heads=2, num_kv_heads=2
    ).model
    ids = jax.ShapeDtypeStruct((4, 256), jnp.int32)

    def loss(
        params: decoder.Params, tokens: jax.Array, segments: jax.Array, positions: jax.Array
    ) -> jax.Array:
        return jnp.sum(jnp.square(decoder.hidden_states(params, model, tokens, segments, positions)))

    program = jax.jit(jax.grad(loss)).lower(decoder.abstract_params(model), ids, ids, ids).compile().as_text()
    assert program is not None
    fast = set(re.findall(r"calls=%([\w.\-]+).*__ynn_fusion", program))
    if not fast:
        pytest.skip("this jaxlib, or this CPU, has no kernels for bfloat16")
    slow = [
        line.strip()[:160]
        for computation in program.split("\n\n")
        for line in computation.splitlines()
        if " dot(" in line and (found := re.match(r"\s*%([\w.\-]+)", computation)) and found[1] not in fast
    ]
    assert not slow


def test_products_with_weights_in_parts_are_those_of_float64() -> None:
    """On eight devices, with gradients added up in the type that was asked for."""
    output = run_on_devices("tests.models.check_sharded_dense")
    assert output.count("equal") == 6 and "type of sums: as asked" in output, output
