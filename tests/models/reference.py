"""The decoder once more, in float64 NumPy: the oracle that needs no other library.

Written for reading: one sequence, one head, one query at a time, rotary positions as complex numbers.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from im_jax.config import ModelConfig, RopeScaling
from im_jax.models import presets
from im_jax.models.decoder import Params, abstract_params

# The real debug model, shrunk; each variant then changes what its name says.
SMALL = dataclasses.replace(
    presets.debug(),
    vocab_size=48,
    num_layers=2,
    embed_dim=32,
    num_heads=4,
    num_kv_heads=4,
    mlp_dim=40,
    compute_dtype="float32",
)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "one_kv_head": {"num_kv_heads": 1},
    "tied": {"tie_embeddings": True},
    "head_dim": {"head_dim": 12, "num_kv_heads": 2},
    "window": {"sliding_window": 3},
    "linear": {"rope_scaling": RopeScaling("linear", 4.0)},
    "llama3": {"rope_theta": 1000.0, "rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 32)},
    "eps": {"norm_eps": 0.1},
}

# What GPT-2 does otherwise, each alone among the parts of the Llama family, then all of it.
GPT2_VARIANTS: dict[str, dict[str, Any]] = {
    "layer_norm": {"norm": "layer"},
    "gelu": {"mlp": "gelu"},
    "learned": {"positions": "learned", "max_positions": 16},
    "biases": {"biases": "all", "num_kv_heads": 2},
    "gpt2": {
        "norm": "layer",
        "mlp": "gelu",
        "positions": "learned",
        "biases": "all",
        "max_positions": 16,
        "tie_embeddings": True,
    },
}


def variant(name: str) -> ModelConfig:
    """The small model, changed as the variant says."""
    return dataclasses.replace(SMALL, **(VARIANTS | GPT2_VARIANTS)[name])


def random_params(config: ModelConfig, seed: int = 0) -> Params:
    """Float32 parameters large enough that attention is far from uniform and logits far from 0."""
    rng = np.random.default_rng(seed)

    def draw(path: jax.tree_util.KeyPath, array: jax.ShapeDtypeStruct) -> jax.Array:
        norm = "scale" in jax.tree_util.keystr(path)
        values = rng.uniform(0.5, 1.5, array.shape) if norm else rng.normal(0.0, 0.4, array.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(config))


def reference_logits(params: Params, config: ModelConfig, tokens: np.ndarray) -> np.ndarray:
    """Logits [L, V] in float64 of one sequence, tokens [L] at positions 0, 1, ..."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x = params["embedding"][tokens]
    if config.positions == "learned":
        x = x + params["position_embedding"][: len(tokens)]
    for layer in range(config.num_layers):
        block = jax.tree.map(lambda stacked, i=layer: stacked[i], params["layers"])
        x = x + _attention(_norm(x, block["attention_norm"], config), block["attention"], config)
        x = x + _mlp(_norm(x, block["mlp_norm"], config), block["mlp"], config)
    head = params["embedding"].T if config.tie_embeddings else params["head"]
    return _norm(x, params["final_norm"], config) @ head


def _mlp(x: np.ndarray, weights: Params, config: ModelConfig) -> np.ndarray:
    up = x @ weights["up"] + weights.get("up_bias", 0)
    if config.mlp == "gelu":
        inner = up / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
    else:
        gate = x @ weights["gate"] + weights.get("gate_bias", 0)
        inner = gate / (1 + np.exp(-gate)) * up
    return inner @ weights["down"] + weights.get("down_bias", 0)


def _norm(x: np.ndarray, norm: Params, config: ModelConfig) -> np.ndarray:
    if config.norm == "layer":
        deviation = np.sqrt(x.var(-1, keepdims=True) + config.norm_eps)
        return norm["scale"] * (x - x.mean(-1, keepdims=True)) / deviation + norm["bias"]
    return norm["scale"] * x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_eps)


def _attention(x: np.ndarray, weights: Params, config: ModelConfig) -> np.ndarray:
    length, out = len(x), np.zeros_like(x)
    window = config.sliding_window or length
    for head in range(config.num_heads):
        group = head * config.num_kv_heads // config.num_heads
        query = _turned(_projected(x, "query", head, weights), config)
        key = _turned(_projected(x, "key", group, weights), config)
        value = _projected(x, "value", group, weights)
        for i in range(length):
            seen = slice(max(0, i - window + 1), i + 1)
            score = key[seen] @ query[i] / np.sqrt(query.shape[1])
            weight = np.exp(score - score.max())
            out[i] += (weight / weight.sum()) @ value[seen] @ weights["output"][head]
    return out + weights.get("output_bias", 0)


def _projected(x: np.ndarray, name: str, head: int, weights: Params) -> np.ndarray:
    projected = x @ weights[name][:, head]
    return projected + weights[f"{name}_bias"][head] if f"{name}_bias" in weights else projected


def _turned(x: np.ndarray, config: ModelConfig) -> np.ndarray:
    if config.positions == "learned":
        return x
    half = x.shape[1] // 2
    frequencies = np.array([_frequency(pair / half, config) for pair in range(half)])
    pairs = x[:, :half] + 1j * x[:, half:]
    pairs = pairs * np.exp(1j * np.outer(np.arange(len(x)), frequencies))
    return np.concatenate([pairs.real, pairs.imag], axis=1)


def _frequency(fraction: float, config: ModelConfig) -> float:
    scaling, frequency = config.rope_scaling, config.rope_theta**-fraction
    if scaling.kind == "none":
        return frequency
    slow = frequency / scaling.factor
    if scaling.kind == "linear":
        return slow
    wavelength = 2 * np.pi / frequency
    if wavelength < scaling.original_max_positions / scaling.high_freq_factor:
        return frequency
    if wavelength > scaling.original_max_positions / scaling.low_freq_factor:
        return slow
    smooth = (scaling.original_max_positions / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    return (1 - smooth) * slow + smooth * frequency
