"""One optimiser step of ours, and of ours with optax on full logits in place of our loss.

Where the case has adapters, these alone are trained, but for the variant `im_jax_whole`.
"""

import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from im_jax import mesh as meshes
from im_jax.batch import Batch
from im_jax.bench.case import Case, adapter_inputs, train_inputs
from im_jax.bench.contestant import Contestant
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.im_jax_step import compile_step
from im_jax.bench.contestants.small_llama import model_config, optimizer_config
from im_jax.config import ModelConfig
from im_jax.losses.weighting import normalise, shift_to_targets, target_weights
from im_jax.models import decoder
from im_jax.models.adapters import lora
from im_jax.models.adapters.lora import base_of, is_adapter
from im_jax.models.adapters.naming import module_names
from im_jax.models.checkpoints import load_pretrained
from im_jax.token_classes import TokenClass
from im_jax.training.partition import merge, split
from im_jax.training.state import Params, TrainState
from im_jax.training.step import TrainStep
from im_jax.training.told import Told


def make(case: Case, variant: str) -> Contestant:
    """The step as `im_jax.train` compiles it."""
    model, inputs = model_config(case), make_batch(case)
    if variant == "im_jax_whole":
        model = base_of(model)

    def load(shardings: decoder.Params) -> decoder.Params:
        adapters, rest = split(shardings, is_adapter)
        params = load_pretrained(model, rest) if rest else {}
        return merge(params, jax.device_put(new_adapters(model), adapters)) if adapters else params

    def optax_step(optimizer: optax.GradientTransformation) -> TrainStep:
        return _optax_step(case, optimizer)

    compiled = compile_step(
        model, optimizer_config(), inputs, load, replace=optax_step if variant == "im_jax_optax" else None
    )
    state, losses = compiled.state, []
    with jax.set_mesh(compiled.mesh):
        batch = meshes.put_batch(inputs, compiled.mesh)

    def call() -> None:
        nonlocal state
        state, metrics = jax.block_until_ready(compiled.step(state, batch))
        losses.append(float(metrics if variant == "im_jax_optax" else metrics.loss))

    memory = jax_backend.memory(compiled.compiled)
    return Contestant(call, lambda: {"losses": losses}, jax_backend.device(), memory)


def new_adapters(model: ModelConfig) -> decoder.Params:
    """Adapters that change nothing yet, the same as those of the other contestants."""

    def new(path: tuple[Any, ...], array: jax.ShapeDtypeStruct) -> np.ndarray:
        name, end = re.fullmatch(r".*\.(\w+?)(_lora_[ab])", keystr(path)).groups()  # type: ignore[union-attr]
        if end == lora.B:
            return np.zeros(array.shape, np.float32)
        layers, *inputs, rank = array.shape
        module = names[name]
        drawn = [adapter_inputs(module, layer, math.prod(inputs), rank) for layer in range(layers)]
        return np.stack(drawn).reshape(array.shape)

    keystr = functools.partial(jax.tree_util.keystr, simple=True, separator=".")
    names = {name: known[-1][0].rpartition(".")[2] for name, known in module_names(model).items()}
    adapters, _ = split(decoder.abstract_params(model), is_adapter)
    return jax.tree_util.tree_map_with_path(new, adapters)


def make_batch(case: Case) -> Batch:
    """The batch with the classes that make the policy `it` train what the case trains."""
    inputs = train_inputs(case)
    classes = np.where(inputs.trained, TokenClass.ASSISTANT, TokenClass.USER).astype(np.uint8)
    shape = inputs.tokens.shape
    return Batch(
        tokens=inputs.tokens,
        classes=classes,
        segments=np.ones(shape, np.int32),
        positions=np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape),
        message_weights=np.ones(shape, np.float32),
    )


def _optax_step(case: Case, optimizer: optax.GradientTransformation) -> TrainStep:
    """Our step but for the loss: what one would write without this package."""
    model = model_config(case)

    def loss_of(params: Params, batch: Batch, told: Told) -> jax.Array:
        weights = normalise(target_weights(batch, told.class_weights), batch.segments, "token_mean")
        hidden = decoder.hidden_states(params, model, batch.tokens, batch.segments, batch.positions)
        head = decoder.head_matrix(params, model)
        logits = jnp.dot(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)
        labels = shift_to_targets(batch.tokens)
        return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    def step(state: TrainState, _: Params, batch: Batch, told: Told) -> tuple[TrainState, Any]:
        loss, grads = jax.value_and_grad(loss_of)(state.params, batch, told)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), loss

    return step
