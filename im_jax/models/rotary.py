"""Rotary positions (Su et al. 2021, arXiv:2104.09864), halves convention, with the usual scalings.

The head dimension K is K/2 pairs; pair i is elements (i, i + K/2), as in Hugging Face checkpoints, and
turns by `position * frequency[i]`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.config import CHOICES, ModelConfig, RopeScaling
from im_jax.errors import ConfigError
from im_jax.models.sizes import head_dim

Tables = tuple[jt.Float32[jax.Array, "B L 1 2 half_R"], jt.Float32[jax.Array, "B L 1 2 half_R"]]
"""What each element of a token's heads, and what its partner, is multiplied by: cosine and signed sine. Of a
head's K elements the first R are turned."""


class Turning(NamedTuple):
    """How heads are turned; hashable."""

    frequencies: tuple[float, ...]
    """Angle per position of each pair, in radians."""
    factor: float = 1.0
    """What turned elements are multiplied by."""


def turning(config: ModelConfig, table: str) -> Turning:
    """How the layers of a table of `im_jax.models.kinds` turn heads of this size."""
    size = rotated_size(config)
    if table == "none":
        return Turning((0.0,) * (size // 2))
    if table == "window" and config.window_rope_theta is not None:
        return Turning(tuple(frequencies(size, config.window_rope_theta, RopeScaling()).tolist()))
    scaling = config.rope_scaling
    scaled = scaling.kind in ("yarn", "longrope")
    found = tuple(frequencies(size, config.rope_theta, scaling).tolist())
    return Turning(found, scaling.attention_factor if scaled else 1.0)


def rotated_size(config: ModelConfig) -> int:
    """Elements of a head that are turned, R.

    Raises:
        ConfigError: they are no pairs.
    """
    size = int(head_dim(config) * config.rope_share)
    if size % 2 or not size:
        raise ConfigError(
            f"model.rope_share={config.rope_share:g} of a head of {head_dim(config)} is {size} elements; "
            "rotary positions turn pairs, so make it even"
        )
    return size


def frequencies(size: int, theta: float, scaling: RopeScaling) -> jt.Float64[np.ndarray, " half_R"]:
    """Angle per position of each pair, in radians.

    `linear` divides every frequency by `factor` (positions are squeezed, Chen et al. 2023,
    arXiv:2306.15595). `llama3` (Llama 3.1) divides only those with a wavelength above
    `original_max_positions / low_freq_factor`, keeps those below `original_max_positions /
    high_freq_factor`, and blends in between. `yarn` (arXiv:2309.00071) blends the same two by a ramp over the
    number of the pair, from where it turns `beta_fast` times over `original_max_positions` to `beta_slow`
    times. `longrope` (arXiv:2402.13753) divides each by its own factor.

    Args:
        size: elements that are turned, R.
        theta: base.
        scaling: as in the configuration.

    Raises:
        ConfigError: for an unknown `scaling.kind`, or factors that are not one for each pair.
    """
    base = theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
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
        case "yarn":
            keep = 1.0 - _yarn_ramp(size, theta, scaling)
            return keep * base + (1.0 - keep) * base / scaling.factor
        case "longrope":
            return base / _pair_factors(len(base), scaling)
        case _:
            known = ", ".join(CHOICES["model.rope_scaling.kind"])
            raise ConfigError(f"model.rope_scaling.kind is {scaling.kind!r}; it can be {known}")


def _yarn_ramp(size: int, theta: float, scaling: RopeScaling) -> jt.Float64[np.ndarray, " half_R"]:
    """How far each pair is scaled, 0 to 1."""

    def pair(turns: float) -> float:
        wavelength = scaling.original_max_positions / (turns * 2 * math.pi)
        return size * math.log(wavelength) / (2 * math.log(theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.whole_pairs:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    width = high - low if high != low else 0.001
    return np.clip((np.arange(size // 2) - low) / width, 0.0, 1.0)


def _pair_factors(pairs: int, scaling: RopeScaling) -> jt.Float64[np.ndarray, " pairs"]:
    name = "long_factors" if scaling.use_long else "short_factors"
    text = getattr(scaling, name)
    try:
        factors = np.array([float(number) for number in text.split(",")])
    except ValueError:
        raise ConfigError(
            f"model.rope_scaling.{name} is {text[:40]!r}; write numbers with commas between them"
        ) from None
    if len(factors) != pairs or not (factors > 0).all():
        raise ConfigError(
            f"model.rope_scaling.{name} has {len(factors)} numbers; it must have one above 0 for each of the "
            f"{pairs} pairs"
        )
    return factors


def tables(positions: jt.Int[jax.Array, "B L"], turning: Turning) -> Tables:
    """Cosine and signed sine of every element's angle; one table serves all heads, and all layers alike."""
    pairs = jnp.asarray(turning.frequencies, jnp.float32)
    angles = positions[:, :, None, None].astype(jnp.float32) * pairs
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if turning.factor != 1.0:
        cos, sin = cos * turning.factor, sin * turning.factor
    # Stacked, both are kept: XLA on a CPU computes a plain cosine again wherever it is read, for all heads.
    return jnp.stack([cos, cos], axis=-2), jnp.stack([-sin, sin], axis=-2)


def rotate(x: jt.Float[jax.Array, "B L H K"], tables: Tables) -> jt.Float[jax.Array, "B L H K"]:
    """Turns the pairs of the first elements of every head that the tables have angles for."""
    size = 2 * tables[0].shape[-1]
    if size == x.shape[-1]:
        return _rotate(x, *tables)
    return jnp.concatenate([_rotate(x[..., :size], *tables), x[..., size:]], axis=-1)


@jax.custom_vjp
def _rotate(
    x: jt.Float[jax.Array, "B L H R"],
    cos: jt.Float32[jax.Array, "B L 1 2 half_R"],
    signed_sin: jt.Float32[jax.Array, "B L 1 2 half_R"],
) -> jt.Float[jax.Array, "B L H R"]:
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
    return _rotate(x, cos, signed_sin), (cos, signed_sin)


def _backward(saved: Tables, dy: jax.Array) -> tuple[jax.Array, None, None]:
    cos, signed_sin = saved
    # Exchanged, which is the same as negated: a CPU rounds a sum of products otherwise where one is negated.
    return _rotate(dy, cos, jnp.flip(signed_sin, axis=-2)), None, None


_rotate.defvjp(_forward, _backward)
