"""Run with eight devices: the gradient with noise and a divergence from a base is what one device computes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from im_jax import mesh as meshes
from im_jax.config import LossConfig, MeshConfig
from im_jax.config.loss import KLConfig
from im_jax.losses.policy import make_policy
from im_jax.models import decoder
from im_jax.models.decoder import Params
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.partition import Frozen
from im_jax.training.step import make_train_step
from im_jax.training.told import constant_weights, teller
from tests.training.tiny import KEEP_GRADIENT, MODEL, random_examples, rows_of

FSDP, TENSOR, REPLICA = (
    MeshConfig(fsdp=8),
    MeshConfig(fsdp=4, tensor=2),
    MeshConfig(replica=2, fsdp=2, tensor=2),
)
CASES = [  # direction, tied head, mesh, micro-batches
    ("reverse", True, FSDP, 1),
    ("reverse", False, TENSOR, 2),
    ("forward", True, REPLICA, 2),
]
BATCH = rows_of(random_examples(3, 24), [[2 * i, 2 * i + 1] if i < 8 else [8 + i] for i in range(16)])


@functools.cache
def weights(tied: bool, seed: int) -> Params:
    """Random parameters on the host, from one program, so that what is compared is not the initialiser."""
    model = dataclasses.replace(MODEL, tie_embeddings=tied)
    return jax.device_get(jax.jit(lambda key: decoder.init_params(model, key))(jax.random.key(seed)))


def gradient(direction: str, *, tied: bool, mesh: Mesh, accumulate: int) -> tuple[np.ndarray, Params]:
    """Loss and divergence of a step, and its gradient, on the host."""
    model = dataclasses.replace(MODEL, tie_embeddings=tied)
    loss = LossConfig(
        policy="im",
        reduction="example_mean",
        neftune_alpha=5.0,
        kl=KLConfig(weight=0.5, direction=direction),
    )
    rules = ShardingRules()
    step = make_train_step(model, loss, KEEP_GRADIENT, accumulate=accumulate, rules=rules)
    shardings = states.state_shardings(model, KEEP_GRADIENT, mesh, rules)
    with jax.set_mesh(mesh):
        params, base = (jax.device_put(weights(tied, seed), shardings.params) for seed in (0, 5))
        state = states.state_from_params(params, KEEP_GRADIENT, shardings)
        coefficients = {"kl": lambda _: jnp.float32(loss.kl.weight)}
        told = teller(constant_weights(make_policy(loss)), seed=0, mesh=mesh, coefficients=coefficients)
        compiled = jax.jit(step, out_shardings=(shardings, None))
        after, metrics = compiled(state, Frozen({}, base), meshes.put_batch(BATCH, mesh), told(1))
    assert metrics.kl is not None
    return np.array([metrics.loss, metrics.kl]), jax.device_get(after.opt_state)


def main() -> None:
    alone = jax.make_mesh(
        (1, 1, 1), meshes.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3, devices=jax.devices()[:1]
    )
    for direction, tied, mesh_config, accumulate in CASES:
        numbers, expected = gradient(direction, tied=tied, mesh=alone, accumulate=1)
        assert numbers[1] > 0.01
        mesh = meshes.make_mesh(mesh_config)
        found, other = gradient(direction, tied=tied, mesh=mesh, accumulate=accumulate)
        np.testing.assert_allclose(found, numbers, rtol=2e-5)
        for (path, a), b in zip(jax.tree.leaves_with_path(other), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=3e-5 * np.abs(b).max(), rtol=0, err_msg=str(path))
        print(f"{direction}, tied {tied}, {mesh_config}, {accumulate} micro-batches: equal")


if __name__ == "__main__":
    main()
