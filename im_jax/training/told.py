"""What a training step is told beside its rows: values that change by step, without compiling again."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
