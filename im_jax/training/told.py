"""What a training step is told beside its rows: values that change by step, without compiling again."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from im_jax.errors import ConfigError
from im_jax.losses.policy import LossPolicy


class Told(NamedTuple):
    """Arguments of a step that are neither parameters nor data."""

    class_weights: jt.Float32[jax.Array, " C"]
    """Weight of each token class as a target."""
    key: jt.Key[jax.Array, ""]
    """For whatever is random in the step; a function of (seed, step), so a resumed run draws the same."""
    coefficients: Mapping[str, jt.Float32[jax.Array, ""]]
    """Of what is added to the cross-entropy, by name."""


Weights = Callable[[jt.Int32[jax.Array, ""]], jt.Float32[jax.Array, " C"]]
"""Class weights by optimiser step, counted from 1: a schedule. Traced, once."""


def constant_weights(policy: LossPolicy) -> Weights:
    """The weights of a policy, at every step."""
    table = policy.table()
    return lambda step: jnp.asarray(table)


def scheduled_weights(policy: LossPolicy, last_step: int) -> Weights:
    """The weights of a policy at every step, with those that change over the run.

    Step `n` has the weights of the time when `n - 1` steps were taken: the first one those at the beginning.

    Raises:
        ConfigError: a ramp does not fit in the run, or a step would have no weight above 0.
    """
    table, classes = policy.table(), np.array(list(policy.changes), np.int32)
    if not policy.changes:
        return constant_weights(policy)
    ramps = list(policy.changes.values())
    begins, ends = np.array([ramp.within(last_step) for ramp in ramps], np.int32).T
    first, last = np.array([(ramp.first, ramp.last) for ramp in ramps], np.float32).T

    def weights(step: jax.Array) -> jax.Array:
        taken = step - 1
        share = jnp.clip((taken - begins) / np.maximum(ends - begins, 1), 0.0, 1.0).astype(jnp.float32)
        share = jnp.where(taken >= ends, 1.0, share)
        return jnp.asarray(table).at[classes].set(first * (1 - share) + last * share)

    # A weight is 0 up to where its ramp begins or from where it ends, so that these steps show if all are.
    for step in sorted({1, last_step, *(min(int(end) + 1, last_step) for end in ends)}):
        if not weights(jnp.int32(step)).any():
            raise ConfigError(
                f"loss.schedule: at step {step} of {last_step} every token class has weight 0; let one stay "
                "above 0"
            )
    return weights


def teller(
    weights: Weights,
    *,
    seed: int,
    mesh: Mesh,
    coefficients: Mapping[str, Callable[[jax.Array], jax.Array]] | None = None,
) -> Callable[[int], Told]:
    """What each step is told, by its number; compiled once, and the same on every device of the mesh.

    Args:
        weights: class weights by step.
        seed: of the run; decides the keys.
        mesh: where the steps run.
        coefficients: schedules of what is added to the cross-entropy.
    """

    def tell(step: jt.Int32[jax.Array, ""]) -> Told:
        key = jax.random.fold_in(jax.random.key(seed), step)
        return Told(weights(step), key, {name: at(step) for name, at in (coefficients or {}).items()})

    compiled = jax.jit(tell, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return lambda step: compiled(jnp.int32(step))
