"""Keys and values of earlier tokens, for decoding.

All rows of a batch add their next token in the same slot, so that storing it is one copy in place rather than
a scatter. Prompts of different lengths therefore *end* in the same slot: a row's sequence starts at a slot of
its own, and what lies before is padding.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.attention.masks import in_reach
from im_jax.models.attention.tree import LayerPrefix
from im_jax.models.slot_cache import LayerPrompt, LayerSlots


class Cache(NamedTuple):
    """Keys (turned by rotary positions) and values of all layers."""

    key: jt.Float[jax.Array, "layers B S G K"]
    value: jt.Float[jax.Array, "layers B S G K"]


class Slots(NamedTuple):
    """Where further tokens go, and what they see there."""

    first: jt.Int[jax.Array, ""]
    """Slot of the first of them."""
    in_all: jt.Bool[jax.Array, "B 1 L S"]
    """What they see in layers without a window."""
    in_window: jt.Bool[jax.Array, "B 1 L S"]
    """What they see in layers with one."""

    def mask(self, windowed: bool | jt.Bool[jax.Array, ""]) -> jt.Bool[jax.Array, "B 1 L S"]:
        """What they see in a layer."""
        if isinstance(windowed, bool):
            return self.in_window if windowed else self.in_all
        return jnp.where(windowed, self.in_window, self.in_all)


class LayerCache(NamedTuple):
    """A cache as one layer uses it. It stays whole, so that it is changed in place."""

    cache: Cache
    layer: jt.Int[jax.Array, ""]
    slots: Slots

    def store(
        self, key: jt.Float[jax.Array, "B L G K"], value: jt.Float[jax.Array, "B L G K"]
    ) -> "LayerCache":
        """With the keys and values of further tokens."""
        place = (self.layer, 0, self.slots.first, 0, 0)
        new = (
            jax.lax.dynamic_update_slice(old, x[None], place)
            for old, x in zip(self.cache, (key, value), strict=True)
        )
        return self._replace(cache=Cache(*new))

    def read(self) -> tuple[jt.Float[jax.Array, "B S G K"], jt.Float[jax.Array, "B S G K"]]:
        """Keys and values of this layer, in all slots."""
        key, value = (jax.lax.dynamic_index_in_dim(x, self.layer, keepdims=False) for x in self.cache)
        return key, value


MaybeCache = TypeVar("MaybeCache", LayerCache, LayerSlots, LayerPrompt, LayerPrefix, None)
Seen = TypeVar("Seen", LayerSlots, LayerPrompt, LayerPrefix)
"""What is read as it is: keys and values of the tokens themselves are given back."""
"""What a layer is given and gives back when decoding, rows in step or slots, or behind a prefix that texts
share; None in training."""


def make_slots(
    first: jt.Int[jax.Array, ""],
    tokens: int,
    starts: jt.Int[jax.Array, " B"],
    slots: int,
    window: int | None,
) -> Slots:
    """A token sees its row's slots from the start up to its own, within the window; padding sees padding.

    Args:
        first: slot of the first token.
        tokens: number of tokens, L.
        starts: slot at which each row's sequence starts.
        slots: number of slots, S.
        window: see `in_reach`.
    """
    queries, keys = first + jnp.arange(tokens), jnp.arange(slots)
    same = (queries >= starts[:, None])[:, :, None] == (keys >= starts[:, None])[:, None, :]
    age = queries[:, None] - keys
    in_all, in_window = ((same & in_reach(age, limit))[:, None] for limit in (None, window))
    return Slots(first, in_all, in_window)
