"""Checkpoints in the legacy format of llama2.c, made in the tests."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_model(path: Path, *, tied: bool, vocabulary: int = 20, length: int = 8) -> dict[str, np.ndarray]:
    """A random two-layer model in the format, and the same weights by name with `[out, in]` shapes."""
    rng = np.random.default_rng(0)
    layers, embed, mlp, heads, groups = 2, 16, 24, 4, 2
    narrow = embed * groups // heads
    shapes = {
        "embedding": (vocabulary, embed),
        "attention_norm": (layers, embed),
        "query": (layers, embed, embed),
        "key": (layers, narrow, embed),
        "value": (layers, narrow, embed),
        "output": (layers, embed, embed),
        "mlp_norm": (layers, embed),
        "gate": (layers, mlp, embed),
        "down": (layers, embed, mlp),
        "up": (layers, mlp, embed),
        "final_norm": (embed,),
        "rotary": (2, length, embed // heads // 2),
    }
    if not tied:
        shapes["head"] = (vocabulary, embed)
    weights = {name: rng.normal(0, 0.4, shape).astype("<f4") for name, shape in shapes.items()}
    header = (embed, mlp, layers, heads, groups, vocabulary if tied else -vocabulary, length)
    path.write_bytes(struct.pack("<7i", *header) + b"".join(value.tobytes() for value in weights.values()))
    return weights


def write_story(path: Path, tokens: Sequence[int], vocabulary: int) -> None:
    """A model that says these tokens, all different, one after the other: each one's row of the head is the
    embedding of the one before, and its layers add nothing."""
    layers, embed, mlp, heads, length = 1, 64, 8, 1, 128
    embedding = np.random.default_rng(0).normal(size=(vocabulary, embed)).astype("<f4")
    head = np.zeros_like(embedding)
    head[list(tokens[1:])] = embedding[list(tokens[:-1])]
    silent = np.zeros(layers * (4 * embed**2 + 3 * embed * mlp), "<f4")
    norms, attention, last = (
        np.ones(layers * embed, "<f4"),
        np.zeros(layers * 4 * embed**2, "<f4"),
        np.ones(embed, "<f4"),
    )
    rotary = np.zeros(length * embed // heads, "<f4")
    parts = (embedding, norms, attention, norms, silent[attention.size :], last, rotary, head)
    header = (embed, mlp, layers, heads, heads, -vocabulary, length)
    path.write_bytes(struct.pack("<7i", *header) + b"".join(part.tobytes() for part in parts))
