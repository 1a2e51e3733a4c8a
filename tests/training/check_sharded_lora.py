"""Run with eight devices: steps of an adapter, with all that goes with it, are those of one device."""

import dataclasses

import jax
import numpy as np
from jax.sharding import AxisType

from im_jax import mesh as meshes
from im_jax.config import LoraConfig, LossConfig, MeshConfig
from im_jax.config.loss import KLConfig
from im_jax.losses.policy import make_policy
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen, split
from im_jax.training.step import make_train_step
from im_jax.training.told import constant_weights, teller
from tests.training.tiny import MODEL, random_examples, rows_of, tiny_config

ADAPTED = dataclasses.replace(MODEL, lora=LoraConfig(rank=2, alpha=4.0, dropout=0.1))
LOSS = LossConfig(policy="im", neftune_alpha=5.0, kl=KLConfig(weight=0.5))
STEPS = 3


def run_steps(mesh: jax.sharding.Mesh, accumulate: int) -> tuple[list[float], states.TrainState]:
    """Losses, divergences and gradient norms of a few steps, and the adapter after them, on the host."""
    config, rules = tiny_config(), ShardingRules()
    config.optimizer = dataclasses.replace(config.optimizer, learning_rate=1e-2)
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS))
    step = make_train_step(ADAPTED, LOSS, optimizer, accumulate=accumulate, rules=rules)
    shardings = states.state_shardings(ADAPTED, optimizer, mesh, rules, is_adapter)
    _, rest = split(decoder.param_shardings(ADAPTED, mesh, rules), is_adapter)
    # From one program, so that what is compared is the step and not the initialiser.
    adapters, base = split(jax.device_get(decoder.init_params(ADAPTED, jax.random.key(0))), is_adapter)
    numbers = []
    with jax.set_mesh(mesh):
        state = states.state_from_params(jax.device_put(adapters, shardings.params), optimizer, shardings)
        frozen = Frozen(jax.device_put(base, rest), base={})
        compiled = jax.jit(step, out_shardings=(shardings, None))
        coefficients = {"kl": lambda _: jax.numpy.float32(0.5)}
        told = teller(constant_weights(make_policy(LOSS)), seed=0, mesh=mesh, coefficients=coefficients)
        for number in range(1, STEPS + 1):
            batch = rows_of(random_examples(number, 24), [[i] for i in range(16)])
            state, metrics = compiled(state, frozen, meshes.put_batch(batch, mesh), told(number))
            numbers += [float(metrics.loss), float(metrics.kl), float(metrics.grad_norm)]
    return numbers, jax.device_get(state)


def main() -> None:
    auto = (AxisType.Auto,) * len(meshes.AXES)
    alone = jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=auto, devices=jax.devices()[:1])
    numbers, state = run_steps(alone, 1)
    assert len(set(numbers)) == len(numbers)
    for mesh_config, accumulate in [(MeshConfig(fsdp=8), 1), (MeshConfig(replica=2, fsdp=2, tensor=2), 2)]:
        other_numbers, other = run_steps(meshes.make_mesh(mesh_config), accumulate)
        np.testing.assert_allclose(other_numbers, numbers, rtol=1e-4, atol=1e-6)
        for a, b in zip(*map(jax.tree.leaves, (other.params, state.params)), strict=True):
            # AdamW divides by the gradient's own size: what is rounding noise may move by the rate.
            assert np.quantile(np.abs(a - b), 0.95) <= 1e-4
        print(f"{mesh_config}, {accumulate} micro-batches: equal")


if __name__ == "__main__":
    main()
