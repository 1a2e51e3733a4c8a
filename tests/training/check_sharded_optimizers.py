"""Run with eight devices: every optimiser, sharded, computes what it does whole, and has the bytes it says."""

import functools
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType

from im_jax import mesh as meshes
from im_jax.config import MeshConfig, OptimizerConfig
from im_jax.models import decoder
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.first_weights import first_weights
from im_jax.training.memory import bytes_on_a_device
from im_jax.training.optimizer import make_optimizer
from tests.training.tiny import tiny_config

RATE, STEPS = 1e-3, 3
MODEL = tiny_config(num_layers=2, embed_dim=128, num_heads=4, num_kv_heads=4, head_dim=32).model
"""Wide enough for Adafactor to factor attention, as matrices whose outputs are two axes."""


@functools.cache
def random_gradient(number: int) -> decoder.Params:
    return jax.jit(functools.partial(decoder.init_params, MODEL))(jax.random.key(number))


def run_steps(name: str, mesh: jax.sharding.Mesh) -> Any:
    """Parameters after some random gradients, on the host."""
    optimizer = make_optimizer(OptimizerConfig(name=name, clip_norm=1.0), optax.constant_schedule(RATE))
    shardings = states.state_shardings(MODEL, optimizer, mesh, ShardingRules())
    abstract = states.with_shardings(states.abstract_state(MODEL, optimizer), shardings)
    params = first_weights(MODEL, shardings.params, seed=0)
    state = states.state_from_params(params, optimizer, shardings)
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state.opt_state))
    assert held == bytes_on_a_device(abstract.opt_state), name

    def step(state: states.TrainState, gradient: Any) -> states.TrainState:
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        return states.TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)

    compiled = jax.jit(step, out_shardings=shardings)
    for number in range(STEPS):
        state = compiled(state, jax.device_put(random_gradient(number), shardings.params))
    print(f"{name} on {mesh.size}: {held} bytes")
    return jax.device_get(state.params)


def main() -> None:
    auto = (AxisType.Auto,) * len(meshes.AXES)
    alone = jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=auto, devices=jax.devices()[:1])
    eight = meshes.make_mesh(MeshConfig(fsdp=4, tensor=2))
    for name in ("adafactor", "lion", "muon", "schedule_free_adamw"):
        whole, sharded = run_steps(name, alone), run_steps(name, eight)
        for (path, a), b in zip(jax.tree.leaves_with_path(whole), jax.tree.leaves(sharded), strict=True):
            np.testing.assert_allclose(a, b, atol=RATE * 1e-3, rtol=0, err_msg=f"{name} {path}")
        print(f"{name}: equal")


if __name__ == "__main__":
    main()
