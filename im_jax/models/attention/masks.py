"""Which keys a token sees, as boolean masks."""

import jax
import jax.numpy as jnp
import jaxtyping as jt


def in_reach(age: jt.Int[jax.Array, "..."], window: int | None) -> jt.Bool[jax.Array, "..."]:
    """True where a key `age` tokens before the query is seen: not later, and within the window.

    With a window w, a token sees itself and the w - 1 tokens before it (Hugging Face's Mistral).
    """
    causal = age >= 0
    return causal if window is None else causal & (age < window)


def segment_mask(segments: jt.Int[jax.Array, "B L"], window: int | None) -> jt.Bool[jax.Array, "B 1 L L"]:
    """Causal within a segment: a token sees itself and earlier tokens of its own example.

    Padding (segment 0) sees itself and earlier padding, so that every row of the softmax has a key and
    stays finite.

    Args:
        segments: which example each token belongs to; 0 is padding.
        window: see `in_reach`.
    """
    place = jnp.arange(segments.shape[1])
    age = place[:, None] - place
    same = segments[:, :, None] == segments[:, None]
    return (same & in_reach(age, window))[:, None]
