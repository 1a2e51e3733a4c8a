"""Keys and values of sequences that begin and end on their own: a slot is refilled while others go on.

A slot's tokens lie in its columns from 0 on, so that the column is the position. A step reads the cache and
adds one token to each slot once all layers are done with it: what is read never changes within a step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.sharding import ShardingRules, constrain

_AXES = ("layers", "batch", "kv_heads", "length", "head_dim")


class SlotCache(NamedTuple):
    """Keys (turned by rotary positions) and values of all layers."""

    key: jt.Float[jax.Array, "layers B G S K"]
    value: jt.Float[jax.Array, "layers B G S K"]

    def with_prompts(
        self,
        prompts: "SlotCache",
        slots: jt.Int[jax.Array, " P"],
        rules: ShardingRules,
    ) -> "SlotCache":
        """With prompts in the first columns of some slots; those of a slot that is not there are dropped."""
        columns = prompts.key.shape[3]
        return SlotCache(
            *(
                constrain(old.at[:, slots, :, :columns].set(new, mode="drop"), _AXES, rules)
                for old, new in zip(self, prompts, strict=True)
            )
        )

    def with_tokens(
        self,
        key: jt.Float[jax.Array, "layers B G K"],
        value: jt.Float[jax.Array, "layers B G K"],
        columns: jt.Int[jax.Array, " B"],
        rules: ShardingRules,
    ) -> "SlotCache":
        """With one token more in each slot, in a column of its own."""

        rows = jnp.arange(len(columns))
        return SlotCache(
            *(
                constrain(old.at[:, rows, :, columns].set(jnp.swapaxes(new, 0, 1)), _AXES, rules)
                for old, new in zip(self, (key, value), strict=True)
            )
        )


class LayerSlots(NamedTuple):
    """A cache as one layer reads it, and what the layer makes of the tokens that come next."""

    cache: SlotCache
    layer: jt.Int[jax.Array, ""]
    lengths: jt.Int[jax.Array, " B"]
    """Tokens of each slot that are in the cache: the column of the next."""
    own: "tuple[jt.Float[jax.Array, 'B L G K'], jt.Float[jax.Array, 'B L G K']] | None" = None
    """Keys and values of the next tokens."""


class LayerPrompt(NamedTuple):
    """What a layer makes of prompts, which see nothing but themselves."""

    own: "tuple[jt.Float[jax.Array, 'B L G K'], jt.Float[jax.Array, 'B L G K']] | None" = None
    """Keys and values of their tokens."""


def empty_slots(shape: tuple[int, int, int, int, int], dtype: str, rules: ShardingRules) -> SlotCache:
    """A cache of nothing, [layers, B, G, S, K]."""
    empty = constrain(jnp.zeros(shape, dtype), _AXES, rules)
    return SlotCache(empty, empty)
