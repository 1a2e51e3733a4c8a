"""One optimiser step, and one evaluation step: pure functions of arrays, compiled once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import optax

from im_jax.batch import Batch
from im_jax.config import LossConfig, ModelConfig
from im_jax.losses.by_class import ClassSums, class_sums
from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.policy import LossPolicy
from im_jax.losses.sharded import LossAxes
from im_jax.losses.weighting import normalise, shift_to_targets, target_mask, target_weights
from im_jax.models import decoder
from im_jax.models.sharding import ShardingRules
from im_jax.training.state import Params, TrainState


class StepMetrics(NamedTuple):
    """What a training step reports, on the device."""

    loss: jt.Float32[jt.Array, ""]
    grad_norm: jt.Float32[jt.Array, ""]
    """Before clipping."""
    by_class: ClassSums


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
EvalStep = Callable[[Params, Batch], ClassSums]


class _Targets(NamedTuple):
    """What each position predicts, with the weight of the whole step's normalisation."""

    labels: jt.Int32[jt.Array, "B L"]
    classes: jt.UInt8[jt.Array, "B L"]
    exists: jt.Bool[jt.Array, "B L"]
    weights: jt.Float32[jt.Array, "B L"]


def make_train_step(
    model: ModelConfig,
    policy: LossPolicy,
    loss: LossConfig,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int,
    rules: ShardingRules,
) -> TrainStep:
    """The function `(state, batch) -> (state, metrics)` of one optimiser step.

    The batch holds all rows of the step; it is cut into `accumulate` micro-batches after the weights
    are normalised, so the gradient does not depend on the cut. Rows must divide by `accumulate`.
    """

    def micro_batch_loss(params: Params, batch: Batch, targets: _Targets) -> tuple[jax.Array, ClassSums]:
        return _loss(params, batch, targets, model, loss, rules)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        weights = normalise(target_weights(batch, policy), batch.segments, policy.reduction)
        (value, sums), grads = _accumulated(
            jax.value_and_grad(micro_batch_loss, has_aux=True),
            state.params,
            (batch, _targets(batch, weights)),
            accumulate,
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(value, optax.tree.norm(grads), sums)
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def _accumulated(
    value_and_grad: Callable[..., Any], params: Params, rows: tuple[Batch, _Targets], parts: int
) -> Any:
    """Sum of `value_and_grad(params, *micro_batch)` over the micro-batches of `rows`.

    Plain sums are exact here, because the weights were normalised over all rows.
    """
    if parts == 1:
        return value_and_grad(params, *rows)
    micro_batches = jax.tree.map(lambda x: _interleave(x, parts), rows)
    shapes = jax.eval_shape(value_and_grad, params, *jax.tree.map(lambda x: x[0], micro_batches))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(total: Any, micro_batch: tuple[Batch, _Targets]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_grad(params, *micro_batch)), None

    return jax.lax.scan(add, zeros, micro_batches)[0]


def make_eval_step(model: ModelConfig, *, rules: ShardingRules) -> EvalStep:
    """The function `(params, batch) -> ClassSums` of plain NLL of every target, whatever is trained."""
    plain = LossConfig()

    def eval_step(params: Params, batch: Batch) -> ClassSums:
        ones = target_mask(batch.segments).astype(jnp.float32)
        _, sums = _loss(params, batch, _targets(batch, ones), model, plain, rules)
        return sums

    return eval_step


def _targets(batch: Batch, weights: jax.Array) -> _Targets:
    return _Targets(
        labels=shift_to_targets(batch.tokens),
        classes=shift_to_targets(batch.classes),
        exists=target_mask(batch.segments),
        weights=weights,
    )


def _loss(
    params: Params,
    batch: Batch,
    targets: _Targets,
    model: ModelConfig,
    loss: LossConfig,
    rules: ShardingRules,
) -> tuple[jt.Float32[jt.Array, ""], ClassSums]:
    """Weighted loss of some rows, and their plain losses by class."""
    hidden = decoder.hidden_states(params, model, batch.tokens, batch.segments, batch.positions, rules=rules)
    value, token_losses = linear_cross_entropy(
        hidden.reshape(-1, hidden.shape[-1]),
        decoder.head_matrix(params, model),
        targets.labels.reshape(-1),
        targets.weights.reshape(-1),
        z_loss=loss.z_loss,
        label_smoothing=loss.label_smoothing,
        axes=LossAxes(*(rules.mesh_axes(axis) for axis in ("batch", "vocab", "embed"))),
    )
    token_losses = token_losses.reshape(targets.labels.shape)
    return value, class_sums(token_losses, targets.classes, targets.exists, targets.weights)


def _interleave(x: jt.Shaped[jt.Array, "B L"], parts: int) -> jt.Shaped[jt.Array, "{parts} M L"]:
    """Cut rows into `parts` micro-batches, taking every `parts`-th row.

    Each device then keeps its own rows: cutting into contiguous blocks would move most of them.
    """
    return x.reshape(x.shape[0] // parts, parts, x.shape[1]).swapaxes(0, 1)
