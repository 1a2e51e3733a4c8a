"""Our train step as `im_jax.train` compiles it, with a state to begin from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from im_jax import mesh as meshes
from im_jax.batch import Batch
from im_jax.config import LossConfig, MeshConfig, ModelConfig, OptimizerConfig
from im_jax.losses.policy import make_policy
from im_jax.models import decoder
from im_jax.models.decoder import Params
from im_jax.models.sharding import ShardingRules
from im_jax.training import state as states
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen, split
from im_jax.training.state import TrainState
from im_jax.training.step import TrainStep, make_train_step
from im_jax.training.told import Told, constant_weights, teller
from im_jax.training.trainable import trained_parts


class CompiledStep(NamedTuple):
    """A step, and a state to begin from."""

    compiled: Any
    frozen: Frozen
    told: Told
    state: TrainState
    mesh: Mesh

    def step(self, state: TrainState, batch: Batch) -> Any:
        """`(state, metrics)` after a batch; the state that goes in is spent."""
        return self.compiled(state, self.frozen, batch, self.told)


def data_parallel_mesh() -> Mesh:
    """All devices of the process with a share of the rows each; all hold all parameters."""
    return meshes.make_mesh(MeshConfig(replica=jax.device_count(), fsdp=1))


def compile_step(
    model: ModelConfig,
    optimizer: OptimizerConfig,
    batch: Batch,
    load: Callable[[Params], Params],
    replace: Callable[[Any], TrainStep] | None = None,
) -> CompiledStep:
    """Compile a step with the policy `it` for batches of one shape.

    Args:
        model: architecture and types; if it has an adapter, this alone is trained.
        optimizer: with a constant learning rate.
        batch: one of the batches, in NumPy.
        load: initial parameters, all or some, of their shardings.
        replace: another step than ours, of the optimiser.
    """
    loss, rules, mesh = LossConfig(policy="it"), ShardingRules(), data_parallel_mesh()
    transformation = make_optimizer(optimizer, make_schedule(optimizer, steps=1))
    is_trained = trained_parts(model, "")
    shardings = states.state_shardings(model, transformation, mesh, rules, is_trained)
    _, rest = split(decoder.param_shardings(model, mesh, rules), is_trained)
    if replace is None:
        step = make_train_step(model, loss, transformation, accumulate=1, rules=rules)
    else:
        step = replace(transformation)
    with jax.set_mesh(mesh):
        state = states.state_from_params(load(shardings.params), transformation, shardings)
        frozen = Frozen(load(rest) if rest else {})
        jitted = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
        told = teller(constant_weights(make_policy(loss)), seed=0, mesh=mesh)(1)
        compiled = jitted.lower(state, frozen, meshes.put_batch(batch, mesh), told).compile()
    return CompiledStep(compiled, frozen, told, state, mesh)
