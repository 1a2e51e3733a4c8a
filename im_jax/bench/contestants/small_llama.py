"""The model and the optimiser of the train_step benchmark, and the initial weights for all contestants."""

from typing import Any

import jax
import numpy as np

from im_jax.bench.case import SEED, Case
from im_jax.bench.contestant import Contestant
from im_jax.bench.sizes import LEARNING_RATE, LORA_ALPHA, Sizes
from im_jax.config import LoraConfig, ModelConfig, OptimizerConfig
from im_jax.models import counts, decoder, huggingface
from im_jax.models.adapters.lora import base_of, is_adapter
from im_jax.training.partition import everything


def model_config(case: Case) -> ModelConfig:
    """The Llama of the case; parameters are float32, activations and products of the case's type."""
    sizes = Sizes(*case.model)
    return ModelConfig(
        path=case.checkpoint,
        vocab_size=sizes.vocab,
        num_layers=sizes.layers,
        embed_dim=sizes.embed,
        num_heads=sizes.heads,
        num_kv_heads=sizes.kv_heads,
        mlp_dim=sizes.mlp,
        max_positions=case.shape[1],
        compute_dtype=case.dtype,
        lora=LoraConfig(rank=case.rank, alpha=LORA_ALPHA),
    )


def optimizer_config() -> OptimizerConfig:
    """AdamW with betas (0.9, 0.98) and eps 1e-6 at a constant rate."""
    return OptimizerConfig(
        preset="paper", learning_rate=LEARNING_RATE, schedule="constant", warmup_fraction=0.0
    )


def _flops_per_token(model: ModelConfig, length: int) -> int:
    return counts.flops_per_token(model, length, is_adapter if model.lora.rank else everything)


def make(case: Case, variant: str) -> Contestant:
    """Writes the initial weights to `case.checkpoint`, and tells what a step computes. Not timed."""
    del variant
    adapted, rng = model_config(case), np.random.default_rng(SEED)

    def init(path: tuple[Any, ...], array: jax.ShapeDtypeStruct) -> np.ndarray:
        if "norm" in jax.tree_util.keystr(path):
            return np.ones(array.shape, np.float32)
        return rng.standard_normal(array.shape, np.float32) * np.float32(0.02)

    config = base_of(adapted)
    params = jax.tree_util.tree_map_with_path(init, decoder.abstract_params(config))
    huggingface.save_params(params, config, case.checkpoint)
    facts = {
        "parameters": counts.num_params(config),
        "flops": _flops_per_token(adapted, case.shape[1]) * case.shape[0] * case.shape[1],
    }
    return Contestant(lambda: None, lambda: facts, "cpu", {})
