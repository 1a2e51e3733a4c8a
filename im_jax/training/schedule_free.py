"""Schedule-free training (arXiv:2405.15682): a running mean of the weights in place of a decay of the rate.

Three sequences: z, which the base optimiser moves; x, the mean of all z, which is the model; and
y = (1 - beta1) z + beta1 x, where gradients are taken. `optax.contrib.schedule_free` has y as the parameters
and works x out of y and z. Here x is the parameters, so that whoever evaluates, saves or exports them has
the model, and a step works out y.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import optax


class ScheduleFreeState(NamedTuple):
    """What schedule-free training keeps beside the mean."""

    steps: jt.Int32[jt.Array, ""]
    beta1: jt.Float32[jt.Array, ""]
    max_rate: jt.Float32[jt.Array, ""]
    weight_sum: jt.Float32[jt.Array, ""]
    base: optax.OptState
    z: optax.Params


def gradient_point(params: optax.Params, state: optax.OptState) -> optax.Params:
    """Where gradients are taken: y if the optimiser is schedule-free, else the parameters."""
    if not isinstance(state, ScheduleFreeState):
        return params
    return jax.tree.map(lambda x, z: z + state.beta1.astype(x.dtype) * (x - z), params, state.z)


def schedule_free(
    base: optax.GradientTransformation, schedule: optax.Schedule, beta1: float
) -> optax.GradientTransformation:
    """`base`, which must have no momentum and the rates of `schedule`, made schedule-free.

    The mean weighs each z by the square of the largest rate so far, so that a warm-up counts little.
    """

    def init(params: optax.Params) -> ScheduleFreeState:
        zero = jnp.zeros((), jnp.float32)
        z = jax.tree.map(jnp.copy, params)
        return ScheduleFreeState(
            jnp.zeros((), jnp.int32), jnp.float32(beta1), zero, zero, base.init(params), z
        )

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ScheduleFreeState]:
        assert isinstance(state, ScheduleFreeState) and params is not None
        moves, base_state = base.update(updates, state.base, gradient_point(params, state))
        z = optax.apply_updates(state.z, moves)
        max_rate = jnp.maximum(state.max_rate, schedule(state.steps))
        weight_sum = state.weight_sum + jnp.square(max_rate)
        share = jnp.where(weight_sum > 0, jnp.square(max_rate) / weight_sum, 0)  # 0: the rate was 0 so far
        changed = jax.tree.map(lambda x, z: share.astype(x.dtype) * (z - x), params, z)
        constants = jnp.float32(beta1), max_rate, weight_sum
        return changed, ScheduleFreeState(state.steps + 1, *constants, base_state, z)

    return optax.GradientTransformation(init, update)
