"""Rotary positions (Su et al. 2021, arXiv:2104.09864), halves convention, with the usual scalings.

The head dimension K is K/2 pairs; pair i is elements (i, i + K/2), as in Hugging Face checkpoints, and
turns by `position * frequency[i]`.
"""

import math

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.config import RopeScaling
from im_jax.errors import ConfigError

Tables = tuple[jt.Float32[jax.Array, "B L 1 2 half_K"], jt.Float32[jax.Array, "B L 1 2 half_K"]]
"""What each element of a token's heads, and what its partner, is multiplied by: cosine and signed sine."""


def frequencies(head_dim: int, theta: float, scaling: RopeScaling) -> jt.Float64[np.ndarray, " half_K"]:
    """Angle per position of each pair, in radians.

    `linear` divides every frequency by `factor` (positions are squeezed, Chen et al. 2023,
    arXiv:2306.15595). `llama3` (Llama 3.1) divides only those with a wavelength above
    `original_max_positions / low_freq_factor`, keeps those below `original_max_positions /
    high_freq_factor`, and blends in between.

    Raises:
        ConfigError: for an unknown `scaling.kind`.
    """
    base = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    match scaling.kind:
        case "none":
            return base
        case "linear":
            return base / scaling.factor
        case "llama3":
            turns = scaling.original_max_positions * base / (2 * math.pi)
            low, high = scaling.low_freq_factor, scaling.high_freq_factor
            keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
            return keep * base + (1.0 - keep) * base / scaling.factor
        case _:
            raise ConfigError(
                f"model.rope_scaling.kind is {scaling.kind!r}; it can be none, linear or llama3"
            )


def tables(positions: jt.Int[jax.Array, "B L"], pair_frequencies: tuple[float, ...]) -> Tables:
    """Cosine and signed sine of every element's angle; one table serves all heads and layers."""
    angles = positions[:, :, None, None].astype(jnp.float32) * jnp.asarray(pair_frequencies, jnp.float32)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    # Stacked, both are kept: XLA on a CPU computes a plain cosine again wherever it is read, for all heads.
    return jnp.stack([cos, cos], axis=-2), jnp.stack([-sin, sin], axis=-2)


@jax.custom_vjp
def rotate(
    x: jt.Float[jax.Array, "B L H K"],
    cos: jt.Float32[jax.Array, "B L 1 2 half_K"],
    signed_sin: jt.Float32[jax.Array, "B L 1 2 half_K"],
) -> jt.Float[jax.Array, "B L H K"]:
    """Turns each pair of every head by its angle, in float32; the result has the type of `x`.

    The gradient is turned back; the tables have none.
    """
    # The partner of each element is fetched by a flip: a CPU concatenates halves ten times slower. In the
    # type of `x`, for compilers keep what they flip.
    halves = x.reshape(*x.shape[:-1], 2, -1)
    partners = jnp.flip(halves, axis=-2)
    turned = halves.astype(jnp.float32) * cos + partners.astype(jnp.float32) * signed_sin
    return turned.reshape(x.shape).astype(x.dtype)


def _forward(x: jax.Array, cos: jax.Array, signed_sin: jax.Array) -> tuple[jax.Array, Tables]:
    return rotate(x, cos, signed_sin), (cos, signed_sin)


def _backward(saved: Tables, dy: jax.Array) -> tuple[jax.Array, None, None]:
    cos, signed_sin = saved
    # Exchanged, which is the same as negated: a CPU rounds a sum of products otherwise where one is negated.
    return rotate(dy, cos, jnp.flip(signed_sin, axis=-2)), None, None


rotate.defvjp(_forward, _backward)
