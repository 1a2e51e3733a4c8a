"""The state of a run that changes: a plain pytree. It holds no random key; keys derive from (seed, step)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from im_jax.config import ModelConfig
from im_jax.models import decoder
from im_jax.models.sharding import ShardingRules
from im_jax.training.factored import spec_beside
from im_jax.training.partition import IsTrained, everything, split

Params = Any


class TrainState(NamedTuple):
    """What a training step takes and gives."""

    step: jt.Int32[jt.Array, ""]
    """Optimiser steps taken."""
    params: Params
    opt_state: optax.OptState


def new_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def abstract_state(
    model: ModelConfig, optimizer: optax.GradientTransformation, is_trained: IsTrained = everything
) -> TrainState:
    """Shapes and types of the state, without computing anything."""
    trained, _ = split(decoder.abstract_params(model), is_trained)
    return jax.eval_shape(lambda params: new_state(params, optimizer), trained)


def state_shardings(
    model: ModelConfig,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
    is_trained: IsTrained = everything,
) -> TrainState:
    """A sharding for each leaf of the state: moments live beside their parameters, scalars everywhere."""
    replicated = NamedSharding(mesh, PartitionSpec())
    params, _ = split(decoder.param_shardings(model, mesh, rules), is_trained)

    def beside(leaf: Any, param: jax.ShapeDtypeStruct, sharding: NamedSharding) -> Any:
        if isinstance(leaf, optax.MaskedNode):  # of a parameter that another optimiser has
            return leaf
        return NamedSharding(mesh, spec_beside(leaf.shape, param.shape, sharding.spec))

    abstract = abstract_state(model, optimizer, is_trained)
    opt_state = optax.tree.map_params(
        optimizer,
        beside,
        abstract.opt_state,
        abstract.params,
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
    )
    return TrainState(step=replicated, params=params, opt_state=opt_state)  # type: ignore[arg-type]


def state_from_params(
    params: Params, optimizer: optax.GradientTransformation, shardings: TrainState
) -> TrainState:
    """A fresh state from given weights, which are taken over (donated)."""
    return jax.jit(new_state, static_argnums=1, out_shardings=shardings, donate_argnums=0)(params, optimizer)


def with_shardings(abstract: Any, shardings: Any) -> Any:
    """Abstract arrays that say where they are to live."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )
