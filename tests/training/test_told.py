"""What a step is told changes without another compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.config import LossConfig, MeshConfig
from im_jax.losses.policy import make_policy
from im_jax.mesh import make_mesh
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import TokenClass
from im_jax.training.partition import Frozen
from im_jax.training.state import new_state
from im_jax.training.step import make_train_step
from im_jax.training.told import Told, constant_weights, teller
from tests.training.tiny import KEEP_GRADIENT, MODEL, fresh_params, random_examples, rows_of

BATCH = rows_of(random_examples(5, 8), [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_policies_and_a_schedule_of_weights_share_one_compilation() -> None:
    loss = LossConfig()
    step = jax.jit(make_train_step(MODEL, loss, KEEP_GRADIENT, accumulate=1, rules=ShardingRules()))
    state = new_state(fresh_params(), KEEP_GRADIENT)
    policies = {name: make_policy(LossConfig(policy=name)) for name in ("im", "it", "last_turn", "all")}
    mesh = make_mesh(MeshConfig())
    tells = {name: teller(constant_weights(policy), seed=0, mesh=mesh) for name, policy in policies.items()}
    found = {name: step(state, Frozen({}), BATCH, tell(1))[1] for name, tell in tells.items()}
    assert len({float(metrics.loss) for metrics in found.values()}) == 4

    im, it = (jnp.asarray(policies[name].table()) for name in ("im", "it"))

    def fading(number: jax.Array) -> jax.Array:
        """Instruction tokens weigh 1 at first, and nothing from the third step on."""
        share = jnp.clip((3 - number) / 2, 0.0, 1.0)
        return share * im + (1 - share) * it

    tell = teller(fading, seed=0, mesh=mesh)
    losses = [float(step(state, Frozen({}), BATCH, tell(number))[1].loss) for number in (1, 2, 3)]
    assert losses[0] == pytest.approx(float(found["im"].loss), rel=1e-6)
    assert losses[2] == pytest.approx(float(found["it"].loss), rel=1e-6)
    assert len(set(losses)) == 3
    assert step._cache_size() == 1


def test_weights_of_a_policy_are_told_at_every_step() -> None:
    policy = make_policy(LossConfig(policy="im"))
    tell = teller(constant_weights(policy), seed=0, mesh=make_mesh(MeshConfig()))
    for number in (1, 2, 1000):
        np.testing.assert_array_equal(tell(number).class_weights, policy.table())
    assert tell(1).class_weights[TokenClass.USER] == 1


def test_keys_are_a_function_of_seed_and_step() -> None:
    weights = constant_weights(make_policy(LossConfig()))

    def key(told: Told) -> tuple[int, ...]:
        return tuple(jax.random.key_data(told.key).tolist())

    tells = {seed: teller(weights, seed=seed, mesh=make_mesh(MeshConfig())) for seed in (0, 1, 2**32 - 1)}
    keys = {(seed, number): key(tell(number)) for seed, tell in tells.items() for number in (1, 2, 3)}
    assert len(set(keys.values())) == len(keys)
    again = teller(weights, seed=1, mesh=make_mesh(MeshConfig()))
    assert key(again(3)) == keys[1, 3], "whatever was asked before"


def test_coefficients_follow_their_schedules() -> None:
    tell = teller(
        constant_weights(make_policy(LossConfig())),
        seed=0,
        mesh=make_mesh(MeshConfig()),
        coefficients={"kl": lambda number: 1.0 / number.astype(jnp.float32)},
    )
    assert [float(tell(number).coefficients["kl"]) for number in (1, 2, 4)] == [1.0, 0.5, 0.25]
