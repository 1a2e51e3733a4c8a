"""The GPT-2 of the rewrites benchmark, its optimiser, and its initial weights for all contestants."""

import dataclasses
from typing import Any, Final

import numpy as np

from im_jax.bench.case import SEED, Case
from im_jax.bench.contestant import Contestant
from im_jax.bench.contestants import rewrites_data
from im_jax.bench.sizes import REWRITES_LEARNING_RATE, SmallSizes
from im_jax.config import ModelConfig, OptimizerConfig
from im_jax.models import counts, decoder, presets

_STDDEV: Final = 0.1
"""Larger than training begins with, so that answers depend on all parts of the model."""


def model_config(case: Case) -> ModelConfig:
    """The model of the case, everything in float32."""
    sizes = SmallSizes(*case.model)
    return dataclasses.replace(
        presets.gpt2_rewrites(),
        vocab_size=rewrites_data.TOKENIZER.vocab_size,
        num_layers=sizes.layers,
        num_heads=sizes.heads,
        num_kv_heads=sizes.heads,
        embed_dim=sizes.embed,
        mlp_dim=4 * sizes.embed,
        max_positions=rewrites_data.positions_of(case),
        compute_dtype=case.dtype,
    )


def optimizer_config() -> OptimizerConfig:
    """AdamW behind clipping at norm 1, at a constant rate."""
    return OptimizerConfig(
        preset="released",
        learning_rate=REWRITES_LEARNING_RATE,
        schedule="constant",
        warmup_fraction=0.0,
    )


def weights(case: Case) -> dict[str, np.ndarray]:
    """The initial weights under the names of transformers' GPT2LMHeadModel, matrices [in, out]."""
    config, rng = model_config(case), np.random.default_rng(SEED)
    width, inner = config.embed_dim, config.mlp_dim

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(_STDDEV)

    found = {
        "transformer.wte.weight": normal(rewrites_data.TOKENIZER.vocab_size, width),
        "transformer.wpe.weight": normal(config.max_positions, width),
    }
    for layer in range(config.num_layers):
        for name, shape in {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, inner),
            "mlp.c_proj": (inner, width),
        }.items():
            found[f"transformer.h.{layer}.{name}.weight"] = normal(*shape)
            found[f"transformer.h.{layer}.{name}.bias"] = normal(shape[1])
    for norm in (*(f"h.{layer}.ln_{i}" for layer in range(config.num_layers) for i in (1, 2)), "ln_f"):
        found[f"transformer.{norm}.weight"] = 1 + normal(width)
        found[f"transformer.{norm}.bias"] = normal(width)
    return found


def params(case: Case) -> decoder.Params:
    """The same weights as parameters of our decoder."""
    config, tensors = model_config(case), weights(case)
    layers, width, heads = config.num_layers, config.embed_dim, config.num_heads

    def stacked(name: str) -> np.ndarray:
        return np.stack([tensors[f"transformer.h.{layer}.{name}"] for layer in range(layers)])

    def linear(ours: str, theirs: str) -> dict[str, np.ndarray]:
        return {ours: stacked(f"{theirs}.weight"), f"{ours}_bias": stacked(f"{theirs}.bias")}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": stacked(f"{name}.weight"), "bias": stacked(f"{name}.bias")}

    attention: dict[str, Any] = linear("output", "attn.c_proj")
    attention["output"] = attention["output"].reshape(layers, heads, width // heads, width)
    together = linear("all", "attn.c_attn")
    for kind, form in (("", (layers, width, heads, -1)), ("_bias", (layers, heads, -1))):
        parts = np.split(together[f"all{kind}"], 3, axis=-1)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            attention[f"{name}{kind}"] = part.reshape(form)
    return {
        "embedding": tensors["transformer.wte.weight"],
        "position_embedding": tensors["transformer.wpe.weight"],
        "layers": {
            "attention_norm": norm("ln_1"),
            "attention": attention,
            "mlp_norm": norm("ln_2"),
            "mlp": {**linear("up", "mlp.c_fc"), **linear("down", "mlp.c_proj")},
        },
        "final_norm": {
            "scale": tensors["transformer.ln_f.weight"],
            "bias": tensors["transformer.ln_f.bias"],
        },
    }


def make(case: Case, variant: str) -> Contestant:
    """Tells how much a step computes. Not timed."""
    del variant
    config = model_config(case)
    facts = {"parameters": counts.num_params(config)}
    if case.work == "train":
        length = rewrites_data.tokens_of(case)
        facts["flops"] = counts.flops_per_token(config, length) * case.shape[0] * length
    return Contestant(lambda: None, lambda: facts, "cpu", {})
