"""Noise on the embeddings in training (NEFTune; Jain et al., 2023, arXiv:2310.05914)."""

from typing import Final

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.losses.weighting import sum_by_example
from im_jax.models.embedding import Noise

_STREAM: Final = 0x4E454654
"""Sets these draws apart from whatever else a step draws from its key."""


def embedding_noise(
    key: jt.Key[jax.Array, ""], segments: jt.Int[jax.Array, "B L"], alpha: float, width: int
) -> Noise | None:
    """Uniform noise for all rows of an optimiser step; None where alpha is 0.

    Components of a token of an example of T tokens get alpha / sqrt(T * width) at most. The released code
    takes for T the length of the batch, padding included; here it is the example's own, so that noise is the
    same padded and packed. Padding gets none.

    Args:
        key: of the step.
        segments: of all rows of the step, before it is cut into micro-batches.
        alpha: of the paper, which tries 5, 10 and 15.
        width: components of an embedding.
    """
    if not alpha:
        return None
    tokens = sum_by_example((segments > 0).astype(jnp.float32), segments)
    own = jnp.take_along_axis(tokens, segments, axis=1)
    bounds = jnp.where(segments > 0, alpha / jnp.sqrt(jnp.maximum(own, 1.0) * width), 0.0)
    stream = jax.random.fold_in(key, _STREAM)
    return Noise(jax.vmap(lambda row: jax.random.fold_in(stream, row))(jnp.arange(len(segments))), bounds)
