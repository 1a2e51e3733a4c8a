"""Architectures of named models, for training from scratch and for plans; weights come by `model.path`."""

import dataclasses
from collections.abc import Callable
from typing import Final

from im_jax.config import ModelConfig


def debug() -> ModelConfig:
    """0.8 million parameters with a byte vocabulary: trains on a laptop's CPU in a minute."""
    return ModelConfig(num_layers=4, embed_dim=128, num_heads=4, num_kv_heads=2, mlp_dim=352)


def cpu_debug(max_positions: int = 256) -> ModelConfig:
    """`debug` as CPUs train it fastest, with a tied head: most of them are slower in bfloat16."""
    return dataclasses.replace(
        debug(), max_positions=max_positions, tie_embeddings=True, compute_dtype="float32"
    )


def small() -> ModelConfig:
    """3 million parameters beside the embedding: trains on a laptop's CPU in minutes."""
    return ModelConfig(num_layers=4, embed_dim=256, num_heads=8, num_kv_heads=4, mlp_dim=688)


def gpt2_rewrites() -> ModelConfig:
    """GPT-2 of 6 layers, 4 heads and width 256, as trained on string rewrites (arXiv:2402.10891).

    4.7 million parameters beside the embedding and the table of positions.
    """
    return ModelConfig(
        num_layers=6,
        embed_dim=256,
        num_heads=4,
        num_kv_heads=4,
        mlp_dim=1024,
        max_positions=1024,
        norm="layer",
        mlp="gelu",
        positions="learned",
        biases="all",
        tie_embeddings=True,
    )


def tinyllama_1b() -> ModelConfig:
    """TinyLlama 1.1B (arXiv:2401.02385)."""
    return ModelConfig(
        vocab_size=32000, num_layers=22, embed_dim=2048, num_heads=32, num_kv_heads=4, mlp_dim=5632
    )


def llama2_7b() -> ModelConfig:
    """Llama 2 7B (arXiv:2307.09288)."""
    return ModelConfig(
        vocab_size=32000,
        num_layers=32,
        embed_dim=4096,
        num_heads=32,
        num_kv_heads=32,
        mlp_dim=11008,
        max_positions=4096,
    )


def llama2_13b() -> ModelConfig:
    """Llama 2 13B (arXiv:2307.09288)."""
    return ModelConfig(
        vocab_size=32000,
        num_layers=40,
        embed_dim=5120,
        num_heads=40,
        num_kv_heads=40,
        mlp_dim=13824,
        max_positions=4096,
    )


def llama2_70b() -> ModelConfig:
    """Llama 2 70B (arXiv:2307.09288)."""
    return ModelConfig(
        vocab_size=32000,
        num_layers=80,
        embed_dim=8192,
        num_heads=64,
        num_kv_heads=8,
        mlp_dim=28672,
        max_positions=4096,
    )


def llama3_8b() -> ModelConfig:
    """Llama 3 8B (arXiv:2407.21783), before the longer context of 3.1."""
    return ModelConfig(
        vocab_size=128256,
        num_layers=32,
        embed_dim=4096,
        num_heads=32,
        num_kv_heads=8,
        mlp_dim=14336,
        max_positions=8192,
        rope_theta=500000.0,
    )


def mistral_7b() -> ModelConfig:
    """Mistral 7B v0.1 (arXiv:2310.06825)."""
    return ModelConfig(
        vocab_size=32000,
        num_layers=32,
        embed_dim=4096,
        num_heads=32,
        num_kv_heads=8,
        mlp_dim=14336,
        max_positions=32768,
        sliding_window=4096,
    )


ARCHITECTURES: Final[dict[str, Callable[[], ModelConfig]]] = {
    preset.__name__: preset
    for preset in (
        debug,
        cpu_debug,
        small,
        gpt2_rewrites,
        tinyllama_1b,
        llama2_7b,
        llama2_13b,
        llama2_70b,
        llama3_8b,
        mistral_7b,
    )
}
"""By name, as `python -m im_jax.plan --model` has them."""
