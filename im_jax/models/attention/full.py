"""All scores at once: the reference, and the fastest for short rows. Works everywhere."""

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.attention.masks import segment_mask
from im_jax.models.attention.spec import AttentionSpec


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    spec: AttentionSpec,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention with the whole mask; keeps H x L x L float32 numbers a row for the backward pass."""
    return attend_where(query, key, value, segment_mask(segments, spec.window), spec=spec)


def attend_where(
    query: jt.Float[jax.Array, "B Q H K"],
    key: jt.Float[jax.Array, "B S G K"],
    value: jt.Float[jax.Array, "B S G K"],
    mask: jt.Bool[jax.Array, "B 1 Q S"],
    *,
    spec: AttentionSpec,
) -> jt.Float[jax.Array, "B Q H K"]:
    """Attention to the keys of a mask, in which every query sees one; the window of `spec` is not asked."""
    if spec.softcap is None:
        return jax.nn.dot_product_attention(
            query, key, value, mask=mask, scale=spec.scale, implementation="xla"
        )
    # JAX's own has no bound for scores.
    by_group = (*query.shape[:2], key.shape[2], -1, query.shape[3])
    grouped = spec.scaled(query).astype(query.dtype).reshape(by_group)
    scores = jnp.einsum("bqgrk,bsgk->bgrqs", grouped, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(mask[:, :, None], spec.capped(scores), -jnp.inf))
    mixed = jnp.einsum("bgrqs,bsgk->bqgrk", weights.astype(value.dtype), value)
    return mixed.reshape(query.shape)
