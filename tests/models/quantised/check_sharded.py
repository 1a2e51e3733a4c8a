"""Run by test_model on eight devices: codes of a file, logits, gradients, and what travels."""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding

from im_jax.config import LoraConfig, ModelConfig
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.quantised.maps import is_quantised
from im_jax.models.sharding import ShardingRules
from im_jax.pods.collectives import collective_bytes
from im_jax.training.partition import merge, split
from tests.models.reference import random_params

TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 48, (8, 12)))
SEGMENTS = jnp.tile(np.repeat([1, 2, 0], (4, 5, 3)), (8, 1))
POSITIONS = jnp.tile(np.concatenate([np.arange(n) for n in (4, 5, 3)]), (8, 1))


def gradient(config: ModelConfig) -> Any:
    """A compiled function of adapters, base and batch: a loss with its gradient for the adapters, and logits."""

    def loss(adapter: Any, base: Any, *batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = decoder.logits(merge(adapter, base), config, *batch)
        return jnp.mean(jnp.square(logits)), logits

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def main() -> None:
    base = resolve_model(ModelConfig(path=sys.argv[1], base_dtype="nf4", compute_dtype="float32"))
    device = SingleDeviceSharding(jax.devices()[0])
    whole = load_pretrained(base, jax.tree.map(lambda _: device, decoder.abstract_params(base)))
    config = dataclasses.replace(base, lora=LoraConfig(rank=2, alpha=1.0))
    adapter, _ = split(random_params(config), is_adapter)
    batch = (TOKENS, SEGMENTS, POSITIONS)
    single = gradient(config)(adapter, whole, *batch)

    for shape in ((2, 2, 2), (4, 2, 1), (8, 1, 1)):
        mesh = jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
        params = load_pretrained(base, decoder.param_shardings(base, mesh))
        jax.tree.map(np.testing.assert_array_equal, params, whole)
        spread = jax.device_put(adapter, split(decoder.param_shardings(config, mesh), is_adapter)[0])
        rows = NamedSharding(mesh, ShardingRules().spec(("batch", "length")))
        with jax.set_mesh(mesh):
            run = gradient(config).lower(spread, params, *jax.device_put(batch, rows)).compile()
            found = run(spread, params, *jax.device_put(batch, rows))
        for one, other in zip(*map(jax.tree.leaves, (found, single)), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())
        print(f"{shape}: equal")
        if shape == (4, 2, 1):
            check_what_travels(run.as_text(), whole)
    print(f"same on {jax.device_count()} devices")


def check_what_travels(program: str, params: Any) -> None:
    """Codes and scales, once or, where the backward pass gathers them again, twice; each map once in float32
    would be seven times as much."""
    bytes_of = {
        jax.tree_util.keystr(path): x.nbytes for path, x in jax.tree_util.tree_leaves_with_path(params)
    }
    codes = sum(size for path, size in bytes_of.items() if is_quantised(path.strip("'[]")))
    others = sum(bytes_of.values()) - codes
    gathered = collective_bytes(program)["all-gather"]
    assert codes <= gathered <= 2 * (codes + others), (gathered, codes, others)


if __name__ == "__main__":
    main()
