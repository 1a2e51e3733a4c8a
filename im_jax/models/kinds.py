"""What differs between the layers of a model: whether a window holds, and which rotary table they read."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError


class Kind(NamedTuple):
    """Of one layer: static where all are alike, else a traced number of the scan over layers."""

    windowed: bool | jt.Bool[jax.Array, ""] | jt.Bool[jax.Array, " layers"]
    """Whether a token sees no further than the window."""
    table: int | jt.Int[jax.Array, ""] | jt.Int[jax.Array, " layers"]
    """Which of `Kinds.tables` its heads are turned by."""


class Kinds(NamedTuple):
    """Of all layers; hashable."""

    windowed: tuple[bool, ...]
    table: tuple[int, ...]
    tables: tuple[str, ...]
    """What these are: `usual`, `window` (frequencies of layers with a window), `none` (not turned)."""

    @property
    def alike(self) -> bool:
        """Whether no layer differs from another."""
        return len(set(self.windowed)) == len(self.tables) == 1

    def of(self, layer: int) -> Kind:
        """Of one layer, static."""
        return Kind(self.windowed[layer], self.table[layer])

    def scanned(self, num_layers: int) -> Kind:
        """Of the first layers, to be scanned over."""
        return Kind(
            jnp.asarray(np.array(self.windowed[:num_layers])), jnp.asarray(np.array(self.table[:num_layers]))
        )


def kinds_of(config: ModelConfig) -> Kinds:
    """What the patterns of a model say of its layers.

    Raises:
        ConfigError: a pattern is not made of 0 and 1.
    """
    windowed = [flag and config.sliding_window is not None for flag in repeated("window_pattern", config)]
    tables = [
        "none" if not turned else "window" if inside and config.window_rope_theta is not None else "usual"
        for turned, inside in zip(repeated("rope_pattern", config), windowed, strict=True)
    ]
    names = tuple(dict.fromkeys(tables))
    return Kinds(tuple(windowed), tuple(names.index(name) for name in tables), names)


def repeated(field: str, config: ModelConfig) -> list[bool]:
    """A pattern of the model, for each of its layers.

    Raises:
        ConfigError: it is not made of 0 and 1.
    """
    pattern = getattr(config, field)
    if not pattern or set(pattern) - {"0", "1"}:
        raise ConfigError(f"model.{field} is {pattern!r}; write 1 or 0 for each layer, such as 111110")
    return [flag == "1" for flag in itertools.islice(itertools.cycle(pattern), config.num_layers)]
