"""The step of a run as a program: what is compiled, and what it is given, by shapes alone."""

from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from im_jax import mesh as meshes
from im_jax.batch import Batch
from im_jax.config import Config
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import NUM_CLASSES
from im_jax.training import state as states
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.partition import Frozen, IsTrained, split
from im_jax.training.state import Params, TrainState
from im_jax.training.step import TrainStep, make_train_step
from im_jax.training.told import Told
from im_jax.training.trainable import trained_parts

BATCH_DTYPES: Final = (jnp.int32, jnp.uint8, jnp.int32, jnp.int32, jnp.float32)
"""Types of the arrays of a batch."""


class Program(NamedTuple):
    """What a run does at each of its steps."""

    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    is_trained: IsTrained
    """Which parameters are in the state; the others are only read."""
    shardings: TrainState
    train_step: TrainStep
    """Compiled when it is first called; the state that goes in is spent."""


def make_program(config: Config, mesh: Mesh, rules: ShardingRules, last_step: int) -> Program:
    """The program of a configuration whose model is resolved (`training.run.resolve`).

    Args:
        config: as resolved.
        mesh: the devices, which may be only described.
        rules: how arrays lie on it.
        last_step: optimiser steps of the run, which the learning rate depends on.
    """
    schedule = make_schedule(config.optimizer, last_step)
    optimizer = make_optimizer(config.optimizer, schedule)
    is_trained = trained_parts(config.model, config.train.trainable)
    shardings = states.state_shardings(config.model, optimizer, mesh, rules, is_trained)
    step = make_train_step(
        config.model,
        config.loss,
        optimizer,
        accumulate=config.train.accumulate,
        rules=rules,
        not_finite=config.train.not_finite,
    )
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
    return Program(schedule, optimizer, is_trained, shardings, jitted)


def frozen_shardings(
    config: Config, mesh: Mesh, rules: ShardingRules, is_trained: IsTrained
) -> tuple[Params, Params | None]:
    """Where parameters live that are not trained, and those that the loss reads of the model at the start.

    Of that model only the trained parts are there twice, in the type that is computed with: under an adapter,
    nothing. None: the loss reads none.
    """
    trained, rest = split(decoder.param_shardings(config.model, mesh, rules), is_trained)
    return rest, split(trained, is_adapter)[1] if config.loss.kl.weight else None


def abstract_arguments(
    config: Config, program: Program, mesh: Mesh, rules: ShardingRules
) -> tuple[TrainState, Frozen, Batch, Told]:
    """Shapes, types and places of what the step is given; nothing is read, and no weight is made."""
    state = states.with_shardings(
        states.abstract_state(config.model, program.optimizer, program.is_trained), program.shardings
    )
    shapes = decoder.abstract_params(config.model)
    trained, rest = split(shapes, program.is_trained)
    where, where_base = frozen_shardings(config, mesh, rules, program.is_trained)
    frozen = Frozen(states.with_shardings(rest, where))
    if where_base is not None:
        own = split(trained, is_adapter)[1]
        narrow = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, config.model.compute_dtype), own)
        frozen = frozen._replace(base=states.with_shardings(narrow, where_base))
    whole = NamedSharding(mesh, PartitionSpec())

    def everywhere(shape: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    key = jax.eval_shape(lambda: jax.random.key(0))
    told = Told(
        everywhere((NUM_CLASSES,), jnp.float32),
        everywhere(key.shape, key.dtype),
        {"kl": everywhere((), jnp.float32)},
    )
    return state, frozen, abstract_batch(config, mesh), told


def abstract_batch(config: Config, mesh: Mesh) -> Batch:
    """All rows of a step, over all devices."""
    rows, by_row = (config.train.batch_size, config.data.max_length), meshes.batch_sharding(mesh)
    return Batch(*(jax.ShapeDtypeStruct(rows, dtype, sharding=by_row) for dtype in BATCH_DTYPES))
