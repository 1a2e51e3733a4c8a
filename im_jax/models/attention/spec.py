"""What attention computes: one description, which every kernel and cached decoding are given."""

import dataclasses
import math
from typing import Final

import jax
import jax.numpy as jnp

from im_jax.errors import ConfigError

ATTENDED: Final = "attended"
"""Name of what attention keeps for its backward pass, for policies of recomputation."""
Typed = jax.Array | jax.ShapeDtypeStruct
"""An array, or its shape and type before there is one."""


@dataclasses.dataclass(frozen=True)
class AttentionSpec:
    """`softmax(capped(query @ key.T * scale)) @ value` over the keys that are seen; hashable.

    Raises:
        ConfigError: a field is out of its bounds.
    """

    window: int | None = None
    """A token sees itself and the `window - 1` tokens before it; None: all before it."""
    scale: float | None = None
    """Factor of the products of queries and keys; None: 1 / sqrt(K)."""
    softcap: float | None = None
    """Bound of the scores, `softcap * tanh(scores / softcap)`, as in Gemma 2; None: no bound."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ConfigError(f"model.sliding_window is {self.window}; a token sees itself, so set 1 or more")
        for name, value in (("scale", self.scale), ("softcap", self.softcap)):
            if value is not None and not (0 < value < math.inf):
                raise ConfigError(
                    f"attention's {name} is {value}; set a finite number above 0, or None for "
                    f"{'1 / sqrt(K)' if name == 'scale' else 'no bound'}"
                )

    def scaled(self, query: jax.Array) -> jax.Array:
        """Queries whose products with keys are scores, for kernels that do not scale; in float32."""
        wide = query.astype(jnp.float32)
        # A quotient: 1 / sqrt(K) would be rounded before it is multiplied with.
        return wide / math.sqrt(query.shape[-1]) if self.scale is None else wide * self.scale

    def capped(self, scores: jax.Array) -> jax.Array:
        """Scores within the bound."""
        return scores if self.softcap is None else self.softcap * jnp.tanh(scores / self.softcap)

    def gradient_before_cap(self, d_capped: jax.Array, capped: jax.Array) -> jax.Array:
        """From the gradient of capped scores to that of the scores."""
        return d_capped if self.softcap is None else d_capped * (1 - jnp.square(capped / self.softcap))
