"""One optimiser step: a pure function of arrays, compiled once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
import optax

from im_jax.batch import Batch
from im_jax.config import LossConfig, ModelConfig
from im_jax.losses.by_class import ClassSums
from im_jax.losses.weighting import normalise, target_weights
from im_jax.models.adapters.dropout import RowKeys, row_keys
from im_jax.models.embedding import Noise
from im_jax.models.loss import Base, Targets, make_targets, weighted_loss
from im_jax.models.sharding import ShardingRules
from im_jax.training.neftune import embedding_noise
from im_jax.training.partition import Frozen, merge
from im_jax.training.schedule_free import gradient_point
from im_jax.training.state import Params, TrainState
from im_jax.training.told import Told


class StepMetrics(NamedTuple):
    """What a training step reports, on the device."""

    loss: jt.Float32[jt.Array, ""]
    grad_norm: jt.Float32[jt.Array, ""]
    """Before clipping."""
    by_class: ClassSums
    kl: jt.Float32[jt.Array, ""] | None
    """Weighted divergence from the base, before its coefficient; None where there is no base."""
    skipped: jt.Bool[jt.Array, ""] | None = None
    """Whether the update was left out; None where none is."""


TrainStep = Callable[[TrainState, Frozen, Batch, Told], tuple[TrainState, StepMetrics]]
"""`train_step(state, frozen, batch, told) -> (state, metrics)`; see `make_train_step`."""


def make_train_step(
    model: ModelConfig,
    loss: LossConfig,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int,
    rules: ShardingRules,
    not_finite: str = "stop",
) -> TrainStep:
    """The function `(state, frozen, batch, told) -> (state, metrics)` of one optimiser step.

    - `state` has the parameters that are trained, and is spent: donate it.
    - `frozen` has those that are only read. With a base, the divergence from it is added, times
      `told.coefficients["kl"]`.
    - `batch` holds all rows of the step. It is cut into `accumulate` micro-batches after the weights are
      normalised, so the gradient does not depend on the cut. Rows must divide by `accumulate`.
    - `told` is what may change from step to step without another compilation: the weight of each token class
      above all, so that policies, and schedules of them, share one program.
    - With `not_finite="skip"`, a step whose loss or gradient norm is no finite number changes nothing but the
      number of steps, and `metrics.skipped` says so; schedules of the optimiser go on as if it had not been.
    """

    def micro_batch_loss(
        params: Params,
        base: Base | None,
        rest: Params,
        batch: Batch,
        targets: Targets,
        noise: Noise | None,
        drop: RowKeys | None,
    ) -> tuple[jax.Array, tuple[ClassSums, jax.Array | None]]:
        whole = merge(params, rest)
        value, sums, kl = weighted_loss(whole, batch, targets, model, loss, rules, noise, drop, base)
        return value, (sums, kl)

    def train_step(
        state: TrainState, frozen: Frozen, batch: Batch, told: Told
    ) -> tuple[TrainState, StepMetrics]:
        weights = normalise(target_weights(batch, told.class_weights), batch.segments, loss.reduction)

        def value_and_grad(params: Params, *rows: Any) -> Any:
            return jax.value_and_grad(micro_batch_loss, has_aux=True)(params, base, frozen.rest, *rows)

        base = None
        if frozen.base is not None:
            base = Base(merge(frozen.base, frozen.rest), told.coefficients["kl"])
        width = model.embedding_width or model.embed_dim
        noise = embedding_noise(told.key, batch.segments, loss.neftune_alpha, width)
        drop = row_keys(told.key, len(batch.segments), model.lora.dropout)
        rows = (batch, make_targets(batch, weights), noise, drop)
        point = gradient_point(state.params, state.opt_state)
        (value, (sums, kl)), grads = _accumulated(value_and_grad, point, rows, accumulate)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(value, optax.tree.norm(grads), sums, kl)
        after = TrainState(state.step + 1, params, opt_state)
        return _skipped(state, after, metrics) if not_finite == "skip" else (after, metrics)

    return train_step


def _skipped(before: TrainState, after: TrainState, metrics: StepMetrics) -> tuple[TrainState, StepMetrics]:
    """The state after a step, but for its number that before it where the step's numbers are not finite."""
    is_good = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.grad_norm)
    kept = jax.tree.map(lambda new, old: jnp.where(is_good, new, old), after, before)
    return kept._replace(step=after.step), metrics._replace(skipped=~is_good)


def _accumulated(
    value_and_grad: Callable[..., Any],
    params: Params,
    rows: tuple[Batch, Targets, Noise | None, RowKeys | None],
    parts: int,
) -> Any:
    """Sum of `value_and_grad(params, *micro_batch)` over the micro-batches of `rows`.

    Plain sums are exact here, because the weights were normalised over all rows. Gradients add up in float32
    whatever type the parameters have: in bfloat16 most of the eighth micro-batch would be rounded away.
    """
    if parts == 1:
        return value_and_grad(params, *rows)
    micro_batches = jax.tree.map(lambda x: _interleave(x, parts), rows)
    shapes = jax.eval_shape(value_and_grad, params, *jax.tree.map(lambda x: x[0], micro_batches))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, _summed_type(x.dtype)), shapes)

    def add(total: Any, micro_batch: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_grad(params, *micro_batch)), None

    totals = jax.lax.scan(add, zeros, micro_batches)[0]
    return jax.tree.map(lambda total, like: total.astype(like.dtype), totals, shapes)


def _summed_type(dtype: jnp.dtype) -> jnp.dtype:
    """Float32 for narrower floats, else the type itself."""
    return jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.floating) else dtype


def _interleave(x: jt.Shaped[jt.Array, "B ..."], parts: int) -> jt.Shaped[jt.Array, "{parts} M ..."]:
    """Cut rows into `parts` micro-batches, taking every `parts`-th row.

    Each device then keeps its own rows: cutting into contiguous blocks would move most of them.
    """
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
