"""Products with weights in NF4: values, the gradient, and what the backward pass keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.models.quantised.dense import dense_quantised
from im_jax.models.quantised.nf4 import Quantised, quantise
from tests.models.quantised.test_nf4 import by_definition

TOLERANCE = {"float32": 2e-6, "bfloat16": 1e-2}  # bfloat16: one rounding of a result, 2^-8, and its operands


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("outputs", [(5,), (4, 6)])
def test_values_and_the_gradient_are_those_of_float64(outputs: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(192, *outputs)).astype(np.float32)
    x = jnp.asarray(rng.normal(size=(2, 3, 192)), dtype)
    dy = jnp.asarray(rng.normal(size=(2, 3, *outputs)), dtype)

    @jax.jit
    def run(x: jax.Array, weight: Quantised, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull_back = jax.vjp(lambda x: dense_quantised(x, weight, None), x)
        return y, *pull_back(dy)

    y, d_x = run(x, quantise(weight), dy)
    wide = by_definition(weight.reshape(192, -1))
    wide = np.asarray(jnp.asarray(wide, dtype), np.float64)
    wide_x, wide_dy = (np.asarray(each.astype(jnp.float32), np.float64) for each in (x, dy))
    expected_y = (wide_x @ wide).reshape(2, 3, *outputs)
    expected_x = wide_dy.reshape(2, 3, -1) @ wide.T
    for found, expected in ((y, expected_y), (d_x, expected_x)):
        assert str(found.dtype) == dtype and found.shape == expected.shape
        assert np.linalg.norm(np.asarray(found, np.float64) - expected) < TOLERANCE[dtype] * np.linalg.norm(
            expected
        )


def test_the_backward_pass_keeps_codes_and_scales_alone() -> None:
    weight = quantise(np.ones((128, 256), np.float32))
    kept = jax.eval_shape(
        lambda x, weight: jax.vjp(lambda x: dense_quantised(x, weight, None), x)[1],
        jnp.ones((2, 128)),
        weight,
    )
    sizes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
    assert sizes == 128 * 256 // 2 + 128 * 256 // 64 * 4


def test_a_loop_over_layers_keeps_no_weight_in_another_type() -> None:
    """Neither in what is traced nor, over the codes that come in, in what is compiled."""
    layers, size = 12, 256
    stacked = jax.tree.map(
        lambda part: np.stack([part] * layers), quantise(np.ones((size, size), np.float32))
    )

    def loss(x: jax.Array, stacked: Quantised) -> jax.Array:
        return jnp.sum(
            jax.lax.scan(lambda x, weight: (dense_quantised(x, weight, None), None), x, stacked)[0]
        )

    compiled = jax.jit(jax.grad(loss)).lower(jnp.ones((2, size)), stacked).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    one, codes = size * size * 4, sum(part.nbytes for part in stacked)
    # Some of one layer, and at most a copy of all codes.
    assert analysis.temp_size_in_bytes < 4 * one + codes < 0.6 * layers * one
