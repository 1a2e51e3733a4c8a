"""Sizes and constants of the benchmarks of training that workers of other libraries need too."""

from typing import Final, NamedTuple

LEARNING_RATE: Final = 1e-4
BETAS: Final = (0.9, 0.98)
EPS: Final = 1e-6
ROPE_THETA: Final = 10000.0
NORM_EPS: Final = 1e-5


TRAIN_STEPS: Final = ("train_step", "lora")
"""Benchmarks of a step of the same Llama."""
LORA_ALPHA: Final = 32.0


class Sizes(NamedTuple):
    """`Case.model`, by name. Embeddings are not tied."""

    vocab: int
    embed: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int


class RewriteSizes(NamedTuple):
    """`Case.shape` of the rewrites benchmark, by name."""

    batch: int
    letters: int
    """Of a string, and of its answer: both sides of a rule are equally long."""
    side: int
    """Letters of each side of a rule."""


class SmallSizes(NamedTuple):
    """`Case.model` of the rewrites benchmark, by name: a GPT-2 whose feed-forward is four times as wide."""

    layers: int
    heads: int
    embed: int


REWRITES_LEARNING_RATE: Final = 1e-3
REWRITES_BETAS: Final = (0.9, 0.999)
REWRITES_EPS: Final = 1e-8
REWRITES_CLIP_NORM: Final = 1.0
