"""Tiny models to generate with, and requests for them."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from im_jax.config import MeshConfig, ModelConfig
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from im_jax.mesh import make_mesh
from im_jax.models import decoder
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from tests.models.reference import SMALL, random_params

CONFIG = dataclasses.replace(SMALL, vocab_size=264, max_positions=160, num_kv_heads=2)
"""More rows than the tokenizer has tokens."""


def tiny_model(
    config: ModelConfig = CONFIG, mesh: MeshConfig | None = None, devices: Sequence[jax.Device] | None = None
) -> Model:
    """A model of random weights over bytes."""
    places, rules = make_mesh(mesh or MeshConfig(), devices), ShardingRules()
    params = jax.device_put(random_params(config), decoder.param_shardings(config, places, rules))
    return Model(params, config, ByteTokenizer(), None, places, rules)


def requests(count: int, *, seed: int = 0, longest: int = 60, **params: object) -> list[Request]:
    """Random prompts of different lengths; ids are `r0`, `r1`, ..."""
    rng = np.random.default_rng(seed)
    chosen = SamplingParams.from_record({"max_tokens": 12} | params)
    return [
        Request(f"r{number}", rng.integers(97, 123, rng.integers(1, longest)).astype(np.int32), chosen)
        for number in range(count)
    ]
