"""The weighted loss of a decoder on a batch: hidden states, the loss of each target, sums by class."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.batch import Batch
from im_jax.config import LossConfig, ModelConfig
from im_jax.losses.by_class import ClassSums, class_sums
from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.cross_entropy.with_kl import linear_cross_entropy_with_kl
from im_jax.losses.sharded import LossAxes
from im_jax.losses.weighting import shift_to_targets, target_mask
from im_jax.models import decoder
from im_jax.models.adapters.dropout import RowKeys
from im_jax.models.adapters.lora import base_of
from im_jax.models.decoder import Params
from im_jax.models.embedding import Noise
from im_jax.models.sharding import ShardingRules


class Base(NamedTuple):
    """The model that the one that is trained is held to, and how much."""

    params: Params
    coefficient: jt.Float32[jt.Array, ""]


class Targets(NamedTuple):
    """What each position predicts, with the weight of the whole step's normalisation."""

    labels: jt.Int32[jt.Array, "B L"]
    classes: jt.UInt8[jt.Array, "B L"]
    exists: jt.Bool[jt.Array, "B L"]
    weights: jt.Float32[jt.Array, "B L"]


def make_targets(batch: Batch, weights: jt.Float32[jt.Array, "B L"]) -> Targets:
    """What the rows of a batch predict, under weights of their own."""
    return Targets(
        labels=shift_to_targets(batch.tokens),
        classes=shift_to_targets(batch.classes),
        exists=target_mask(batch.segments),
        weights=weights,
    )


def weighted_loss(
    params: Params,
    batch: Batch,
    targets: Targets,
    model: ModelConfig,
    loss: LossConfig,
    rules: ShardingRules,
    noise: Noise | None = None,
    drop: RowKeys | None = None,
    base: Base | None = None,
) -> tuple[jt.Float32[jt.Array, ""], ClassSums, jt.Float32[jt.Array, ""] | None]:
    """Weighted loss of some rows, their plain losses by class, and their weighted divergence from a base.

    Args:
        params: of the whole decoder.
        batch: rows, of which only tokens, segments and positions are read.
        targets: of these rows.
        model: the decoder.
        loss: z-loss, label smoothing, and direction and estimator of the divergence.
        rules: how arrays lie on the mesh that `jax.set_mesh` set.
        noise: on the embeddings of these rows, in training alone.
        drop: of these rows, by which adapters drop their inputs, in training alone.
        base: the same model without its adapter, read without noise; None: nothing is added.

    Returns:
        The loss, sums by class, and the divergence before its coefficient: None where there is no base.
    """
    needed = targets.weights > 0
    hidden = decoder.hidden_states(
        params,
        model,
        batch.tokens,
        batch.segments,
        batch.positions,
        rules=rules,
        needed=needed,
        noise=noise,
        drop=drop,
    )
    inputs = (
        hidden.reshape(-1, hidden.shape[-1]),
        decoder.head_matrix(params, model),
        targets.labels.reshape(-1),
        targets.weights.reshape(-1),
    )
    options: dict[str, Any] = {
        "softcap": model.logit_cap,
        "z_loss": loss.z_loss,
        "label_smoothing": loss.label_smoothing,
        "axes": LossAxes(
            tokens=rules.mesh_axes("batch"),
            vocab=rules.mesh_axes("vocab"),
            embed=rules.mesh_axes("embed"),
            reduce_dtype=rules.reduce_dtype,
        ),
    }
    divergence = None
    if base is None:
        with jax.named_scope("loss"):
            value, token_losses = linear_cross_entropy(*inputs, **options)
    else:
        fixed, model = jax.lax.stop_gradient(base.params), base_of(model)
        told = decoder.hidden_states(
            fixed, model, batch.tokens, batch.segments, batch.positions, rules=rules, needed=needed
        )
        other = told.reshape(-1, told.shape[-1]), decoder.head_matrix(fixed, model)
        value, token_losses, token_kl = linear_cross_entropy_with_kl(
            *inputs,
            *other,
            base.coefficient,
            direction=loss.kl.direction,
            estimator=loss.kl.estimator,
            **options,
        )
        divergence = jnp.sum(targets.weights.reshape(-1) * token_kl)
    token_losses = token_losses.reshape(targets.labels.shape)
    return value, class_sums(token_losses, targets.classes, targets.exists, targets.weights), divergence
