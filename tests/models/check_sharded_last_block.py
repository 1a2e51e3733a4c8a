"""Run by test_last_block on eight devices: the last block of needed tokens, sharded or not."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding

from im_jax.config import ModelConfig
from im_jax.models import decoder, last_block
from im_jax.models.sharding import ShardingRules
from tests.models.reference import SMALL, random_params, variant
from tests.models.test_last_block import LENGTH, batch_of, compiled

LLAMA = dataclasses.replace(SMALL, num_kv_heads=2, sliding_window=7)
GPT2 = dataclasses.replace(variant("gpt2"), max_positions=LENGTH)
ROWS = 8
GATHERED = r"= \(?(\w+\[[\d,]*\])[^=]* (?:all-gather|all-to-all|collective-permute)(?:-start)?\("
"""Results of collectives that move what is no sum."""


def masks() -> dict[str, np.ndarray]:
    """Needed tokens by row: unequal, on one device only, none, more than half on one device, all."""
    rng = np.random.default_rng(0)
    share = {
        "unequal": [0.5, 0.1, 0, 0, 0.3, 0.05, 0.2, 0.4],
        "one_device": [0, 0, 0, 0, 0.4, 0.3, 0, 0],
        "none": [0] * ROWS,
        "too_many_on_one": [0.1, 0, 0, 0, 0, 0, 0.9, 0.8],
        "all": [1] * ROWS,
    }
    return {name: rng.random((ROWS, LENGTH)) < np.array(rows)[:, None] for name, rows in share.items()}


def moved(compiled: str) -> set[str]:
    """Types and sizes of what collectives give that move what is no sum; dimensions of 1 do not count."""
    return {re.sub(r"(?<=[\[,])1,", "", result) for result in re.findall(GATHERED, compiled)}


def check(config: ModelConfig, *shape: int) -> None:
    """Losses and gradients of every mask equal those of one device that computes all tokens, and no token
    moves that would not without."""
    mesh = jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    params, batch = random_params(config), batch_of(ROWS)
    rows = NamedSharding(mesh, ShardingRules().spec(("batch", "length")))
    spread = jax.device_put(params, decoder.param_shardings(config, mesh))
    plain, apart = compiled(config, apart=False), compiled(config, apart=True)
    for name, mask in masks().items():
        expected = plain(params, *batch, jnp.asarray(mask))
        with jax.set_mesh(mesh):
            found = apart(spread, *jax.device_put((*batch, mask), rows))
        compare = functools.partial(np.testing.assert_allclose, rtol=0, atol=2e-5, err_msg=name)
        jax.tree.map(compare, found, expected)
    assert apart._cache_size() == 1
    with jax.set_mesh(mesh):
        inputs = spread, *jax.device_put((*batch, mask), rows)
        gathered, always = (moved(f.lower(*inputs).compile().as_text()) for f in (apart, plain))
    assert gathered <= always, gathered - always


if __name__ == "__main__":
    last_block.LEAST_PARAMETERS = 0  # type: ignore[misc]
    check(LLAMA, 2, 2, 2)
    check(GPT2, 8, 1, 1)
    print(f"same on {jax.device_count()} devices")
