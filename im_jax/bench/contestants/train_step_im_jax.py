"""One optimiser step of ours, and of ours with optax on full logits in place of our loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from im_jax.batch import Batch
from im_jax.bench.case import Case, train_inputs
from im_jax.bench.contestant import Contestant
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.small_llama import model_config, optimizer_config
from im_jax.config import LossConfig, MeshConfig
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.losses.weighting import normalise, shift_to_targets, target_weights
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import TokenClass
from im_jax.training import mesh as meshes
from im_jax.training import state as states
from im_jax.training.optimizer import make_optimizer, make_schedule
from im_jax.training.state import TrainState
from im_jax.training.step import TrainStep, make_train_step


def make(case: Case, variant: str) -> Contestant:
    """The step as `im_jax.train` compiles it."""
    model, loss, rules = model_config(case), LossConfig(policy="it"), ShardingRules()
    policy = make_policy(loss)
    optimizer = make_optimizer(optimizer_config(), make_schedule(optimizer_config(), steps=1))
    mesh = meshes.make_mesh(MeshConfig())
    shardings = states.state_shardings(model, optimizer, mesh, rules)
    if variant == "im_jax":
        step = make_train_step(model, policy, loss, optimizer, accumulate=1, rules=rules)
    else:
        step = _optax_step(case, policy, optimizer, rules)
    with jax.set_mesh(mesh):
        batch = meshes.put_batch(make_batch(case), mesh)
        state = states.state_from_params(load_pretrained(model, shardings.params), optimizer, shardings)
        jitted = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
        compiled = jitted.lower(state, batch).compile()

    losses: list[float] = []

    def call() -> None:
        nonlocal state
        state, metrics = jax.block_until_ready(compiled(state, batch))
        losses.append(float(metrics.loss if variant == "im_jax" else metrics))

    return Contestant(call, lambda: {"losses": losses}, jax_backend.device(), jax_backend.memory(compiled))


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


def _optax_step(
    case: Case, policy: LossPolicy, optimizer: optax.GradientTransformation, rules: ShardingRules
) -> TrainStep:
    """Our step but for the loss: what one would write without this package."""
    model = model_config(case)

    def loss_of(params: Any, batch: Batch) -> jax.Array:
        weights = normalise(target_weights(batch, policy), batch.segments, "token_mean")
        hidden = decoder.hidden_states(
            params, model, batch.tokens, batch.segments, batch.positions, rules=rules
        )
        head = decoder.head_matrix(params, model)
        logits = jnp.dot(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)
        labels = shift_to_targets(batch.tokens)
        return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
        loss, grads = jax.value_and_grad(loss_of)(state.params, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), loss

    return step
