"""Low-rank adapters (LoRA, arXiv:2106.09685): a map W becomes W + s A B, of which A and B are trained.

Beside each adapted map of the layers, such as `layers.attention.query` [layers, *inputs, *outputs], the tree
of parameters has `query_lora_a` [layers, *inputs, rank] and `query_lora_b` [layers, rank, *outputs], both in
float32 whatever type the model is kept in.
"""

import dataclasses
import math
from typing import Final

import jax
import jax.numpy as jnp
from flax import nnx

from im_jax.config import LoraConfig, ModelConfig

A: Final = "_lora_a"
B: Final = "_lora_b"
"""Behind the name of a map, the names of its adapter's parameters."""


def is_adapter(path: str) -> bool:
    """Whether the parameter with this path in the tree is of an adapter."""
    return path.endswith((A, B))


def base_of(model: ModelConfig) -> ModelConfig:
    """The model without its adapter."""
    return dataclasses.replace(model, lora=LoraConfig()) if model.lora.rank else model


def scale(lora: LoraConfig) -> float:
    """What the product of A and B is multiplied by: alpha / rank, or alpha / sqrt(rank) (rsLoRA,
    arXiv:2312.03732)."""
    return lora.alpha / (math.sqrt(lora.rank) if lora.rslora else lora.rank)


def new_a(inputs: dict[str, int], rank: int, rngs: nnx.Rngs) -> nnx.Param[jax.Array]:
    """Uniform within 1 / sqrt(inputs), as PEFT draws it: a new adapter, whose B is 0, changes nothing.

    Args:
        inputs: size of each dimension that the map sums over, by logical axis.
        rank: of the adapter.
        rngs: of which the stream `adapter` is drawn from, so that the model's own weights stay what they are.
    """
    bound = 1 / math.sqrt(math.prod(inputs.values()))
    shape = (*inputs.values(), rank)
    drawn = jax.random.uniform(rngs.adapter(), shape, jnp.float32, -bound, bound)
    return nnx.Param(drawn, logical_axes=(*inputs, "rank"), num_inputs=len(inputs))


def new_b(outputs: dict[str, int], rank: int) -> nnx.Param[jax.Array]:
    """Zeros."""
    zeros = jnp.zeros((rank, *outputs.values()), jnp.float32)
    return nnx.Param(zeros, logical_axes=("rank", *outputs), num_inputs=1)
