"""All scores at once: the reference, and the fastest for short rows. Works everywhere."""

import jax
import jaxtyping as jt

from im_jax.models.attention.masks import segment_mask


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    sliding_window: int | None,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention with the whole mask; keeps H x L x L float32 numbers a row for the backward pass."""
    mask = segment_mask(segments, sliding_window)
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation="xla")
