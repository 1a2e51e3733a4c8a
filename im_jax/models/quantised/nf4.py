"""NF4, the 4-bit type of QLoRA (arXiv:2305.14314), bit for bit as bitsandbytes makes it of a linear layer.

A block is 64 weights of one output, of inputs that follow each other. It keeps its largest magnitude, and for
each weight which value of the table is nearest to the weight's share of that.
"""

import functools
import operator
from typing import Any, Final, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.devices import platform

BLOCK: Final = 64
"""Weights that share a scale."""
VALUES: Final = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
"""The published table (appendix E): quantiles of the normal distribution, 0 among them, as float32."""
_BOUNDS: Final = (VALUES[:-1] + VALUES[1:]) / 2
"""Between neighbours. What lies on a bound belongs to the lower value."""
_LEAST_SCALE: Final = 1e-38  # of a block of zeros, which is divided by it

Array = TypeVar("Array", np.ndarray, jax.Array)


class Quantised(NamedTuple):
    """A weight [I, *outputs]: codes [I/2, *outputs], scales [I/64, *outputs]."""

    codes: jt.UInt8[jax.Array | np.ndarray, "*pairs_and_outputs"]
    """Numbers of values in the table, of two inputs in a byte, the first one's in the upper half."""
    scales: jt.Float32[jax.Array | np.ndarray, "*blocks_and_outputs"]
    """Of blocks."""


def quantise(weight: Array) -> Quantised:
    """A weight in NF4, computed in float32: on the host for an array of NumPy, else where JAX computes.

    Args:
        weight: [I, *outputs], of any float type; I is a multiple of 64.
    """
    blocks = weight.astype(np.float32).reshape(-1, BLOCK, *weight.shape[1:])
    scales = abs(blocks).max(axis=1)
    # By one reciprocal for a block, as bitsandbytes does it: a quotient may round to another side of a bound.
    shares = blocks * (1 / scales.clip(_LEAST_SCALE))[:, None]
    codes = functools.reduce(operator.add, ((shares > bound).astype(np.uint8) for bound in _BOUNDS))
    pairs = codes.reshape(-1, 2, *weight.shape[1:])
    return Quantised(pairs[:, 0] << 4 | pairs[:, 1], scales)


def dequantise(weight: Quantised) -> jt.Float32[jax.Array, "*inputs_and_outputs"]:
    """The weight that is kept: the value in the table times the scale of its block, rounded once."""
    outputs = weight.scales.shape[1:]
    pairs = jnp.stack([weight.codes >> 4, weight.codes & 15], axis=1)
    blocks = _looked_up(pairs).reshape(-1, BLOCK, *outputs) * weight.scales[:, None]
    return blocks.reshape(-1, *outputs)


def _looked_up(codes: jt.UInt8[jax.Array, "*shape"]) -> jt.Float32[jax.Array, "*shape"]:
    """Values of the table."""
    if platform() != "tpu":
        return jnp.asarray(VALUES).at[codes].get(mode="promise_in_bounds")
    # A TPU has no fast gather: each bit of a code halves what is chosen from.
    values: list[Any] = list(VALUES)
    for bit in range(4):
        is_set = (codes >> bit & 1).astype(bool)
        values = [jnp.where(is_set, high, low) for low, high in zip(values[::2], values[1::2], strict=True)]
    found: jax.Array = values[0]
    return found
