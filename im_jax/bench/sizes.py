"""Sizes and constants of the train_step benchmark that workers of other libraries need too."""

from typing import Final, NamedTuple

LEARNING_RATE: Final = 1e-4
BETAS: Final = (0.9, 0.98)
EPS: Final = 1e-6
ROPE_THETA: Final = 10000.0
NORM_EPS: Final = 1e-5


class Sizes(NamedTuple):
    """`Case.model`, by name. Embeddings are not tied."""

    vocab: int
    embed: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
