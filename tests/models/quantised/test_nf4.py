"""NF4 against its definition in float64, by brute force."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.models.quantised import nf4
from im_jax.models.quantised.nf4 import BLOCK, VALUES, Quantised, dequantise, quantise


def by_definition(weight: np.ndarray) -> np.ndarray:
    """The weight that NF4 makes of a float32 weight [I, O], in float64: block by block, nearest of sixteen."""
    wide = weight.astype(np.float64)
    found = np.empty_like(wide)
    for output in range(weight.shape[1]):
        for start in range(0, len(weight), BLOCK):
            block = wide[start : start + BLOCK, output]
            scale = np.abs(block).max()
            nearest = np.abs(block[:, None] / (scale or 1) - VALUES.astype(np.float64)).argmin(1)
            found[start : start + BLOCK, output] = VALUES[nearest] * scale
    return found


def codes_of(quantised: Quantised) -> np.ndarray:
    """Codes of all weights, [I, *outputs], out of their bytes."""
    packed = np.asarray(quantised.codes)
    return np.stack([packed // 16, packed % 16], axis=1).reshape(-1, *packed.shape[1:])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(64, 1), (192, 7), (1024, 33)])
def test_each_weight_becomes_the_nearest_of_sixteen_values(shape: tuple[int, int], dtype: str) -> None:
    weight = np.random.default_rng(0).standard_t(4, shape).astype(jnp.dtype(dtype))
    weight[:BLOCK, 0] = 0
    found = np.asarray(dequantise(quantise(weight)), np.float64)
    np.testing.assert_allclose(found, by_definition(weight.astype(np.float32)), rtol=1e-7, atol=0)
    assert not found[:BLOCK, 0].any()


def test_host_and_device_give_the_same_bits() -> None:
    weight = np.random.default_rng(1).normal(size=(512, 4, 8)).astype(np.float32)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(quantise)(jnp.asarray(weight)), quantise(weight))


def test_a_share_on_a_bound_takes_the_lower_value() -> None:
    """As in bitsandbytes, which asks whether a share is above it; and the first input is the upper half."""
    bounds = (VALUES[:-1] + VALUES[1:]) / 2
    weight = np.zeros((BLOCK, 1), np.float32)
    weight[0], weight[1:16, 0], weight[16:31, 0] = -1, bounds, np.nextafter(bounds, np.float32(2))
    quantised = quantise(weight)
    assert codes_of(quantised)[:31, 0].tolist() == [0, *range(15), *range(1, 16)]
    assert quantised.codes[1, 0] == 0x12  # of shares 2 and 3


def test_every_value_of_the_table_is_kept_exactly() -> None:
    """Also by the way that TPUs look them up."""
    weight = np.zeros((BLOCK, 1), np.float32)
    weight[:16, 0] = 0.5 * VALUES
    np.testing.assert_array_equal(dequantise(quantise(weight)), weight)


def test_tpus_find_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = quantise(np.random.default_rng(2).normal(size=(256, 16)).astype(np.float32))
    expected = np.asarray(dequantise(weight))
    monkeypatch.setattr(nf4, "platform", lambda: "tpu")
    found = jax.jit(lambda weight: dequantise(weight))(jax.tree.map(jnp.asarray, weight))
    np.testing.assert_array_equal(found, expected)


def test_the_table_is_made_as_the_paper_says() -> None:
    """Appendix E: 8 quantiles of the normal distribution at and above 0, 7 below, over the largest. The released
    code puts the outermost at the mean of 1 - 1/32 and 1 - 1/30, and has found them in float32."""
    outermost = (2 - 1 / 32 - 1 / 30) / 2
    above = [quantile(p) for p in np.linspace(outermost, 0.5, 9)[:-1]]
    below = [-quantile(p) for p in np.linspace(outermost, 0.5, 8)[:-1]]
    expected = np.sort([*above, 0.0, *below]) / max(above)
    np.testing.assert_allclose(VALUES, expected, atol=2e-7)


def quantile(p: float) -> float:
    """Of the normal distribution, by bisection."""
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle / math.sqrt(2)) / 2 + 0.5 < p else (low, middle)
    return low


def test_errors_of_normal_weights_are_bounded_and_below_those_of_even_steps() -> None:
    """No share is further off than half of the widest step, 0.152; in the mean NF4 beats int4 (the paper's claim)."""
    weight = np.random.default_rng(3).normal(size=(64 * 64, 8)).astype(np.float32)
    quantised = quantise(weight)
    scale = np.repeat(quantised.scales, BLOCK, axis=0)
    error = np.abs(np.asarray(dequantise(quantised)) - weight) / scale
    assert error.max() <= np.diff(VALUES).max() / 2 + 1e-6
    even = np.abs(np.round(weight / scale * 7) / 7 - weight / scale)
    assert np.square(error).mean() < 0.9 * np.square(even).mean()
    relative = np.linalg.norm(error * scale) / np.linalg.norm(weight)
    assert 0.08 < relative < 0.10
