"""Models without a tokenizer, pairs that share what benchmarks share, and scores by the plain forward pass."""

import jax
import numpy as np
from jax.sharding import AxisType

from im_jax.config import ModelConfig
from im_jax.data.tokenizers import make_tokenizer
from im_jax.models import decoder
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules

Pairs = list[tuple[list[int], list[int]]]


def model_of(config: ModelConfig, params: decoder.Params, mesh: tuple[int, int, int] = (1, 1, 1)) -> Model:
    """A model on as many devices as the mesh has."""
    devices = jax.make_mesh(
        mesh,
        ("replica", "fsdp", "tensor"),
        axis_types=(AxisType.Auto,) * 3,
        devices=jax.devices()[: int(np.prod(mesh))],
    )
    placed = jax.device_put(params, decoder.param_shardings(config, devices))
    return Model(placed, config, make_tokenizer("bytes"), None, devices, ShardingRules())


def pairs_of(vocab: int, *, shots: int = 300, questions: int = 30, seed: int = 0) -> Pairs:
    """Two tasks: questions behind the same shots with one-token choices, of which one is asked twice; and
    questions without shots, whose longer choices begin alike."""
    rng = np.random.default_rng(seed)

    def some(least: int, most: int) -> list[int]:
        return rng.integers(0, vocab, rng.integers(least, most + 1)).tolist()

    pairs: Pairs = []
    begin = some(shots, shots)
    for number in range(questions):
        question = [*begin, *some(1, 30)] if number else begin  # the shots alone are asked too
        pairs += [(question, [choice]) for choice in (0, 1, 2, 3, 4, 5, 0)]
    for _ in range(questions):
        question, head = some(1, 40), some(0, 3)
        pairs += [(question, [*head, *some(1, 6)]) for _ in range(4)]
    order = rng.permutation(len(pairs))
    return [pairs[number] for number in order]
