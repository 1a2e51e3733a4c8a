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


def segment_mask(
    segments: jt.Int[jax.Array, "B L"],
    window: int | None,
    queries: tuple[int, int] | None = None,
    keys: tuple[int, int] | None = None,
) -> jt.Bool[jax.Array, "B 1 Q S"]:
    """Causal within a segment: a token sees itself and earlier tokens of its own example.

    Padding (segment 0) sees itself and earlier padding, so that every row of the softmax has a key and
    stays finite.

    Args:
        segments: which example each token belongs to; 0 is padding.
        window: see `in_reach`.
        queries: first token and end of the queries; None: all L.
        keys: likewise for the keys.
    """
    first_query, end_query = queries or (0, segments.shape[1])
    first_key, end_key = keys or (0, segments.shape[1])
    age = jnp.arange(first_query, end_query)[:, None] - jnp.arange(first_key, end_key)
    same = segments[:, first_query:end_query, None] == segments[:, None, first_key:end_key]
    return (same & in_reach(age, window))[:, None]
