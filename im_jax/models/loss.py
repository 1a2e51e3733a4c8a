"""The weighted loss of a decoder on a batch: hidden states, the loss of each target, sums by class."""

from typing import NamedTuple

import jaxtyping as jt

from im_jax.batch import Batch
from im_jax.config import LossConfig, ModelConfig
from im_jax.losses.by_class import ClassSums, class_sums
from im_jax.losses.cross_entropy import linear_cross_entropy
from im_jax.losses.sharded import LossAxes
from im_jax.losses.weighting import shift_to_targets, target_mask
from im_jax.models import decoder
from im_jax.models.decoder import Params
from im_jax.models.embedding import Noise
from im_jax.models.sharding import ShardingRules


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
) -> tuple[jt.Float32[jt.Array, ""], ClassSums]:
    """Weighted loss of some rows, and their plain losses by class.

    Args:
        params: of the whole decoder.
        batch: rows, of which only tokens, segments and positions are read.
        targets: of these rows.
        model: the decoder.
        loss: z-loss and label smoothing.
        rules: how arrays lie on the mesh that `jax.set_mesh` set.
        noise: on the embeddings of these rows, in training alone.
    """
    hidden = decoder.hidden_states(
        params,
        model,
        batch.tokens,
        batch.segments,
        batch.positions,
        rules=rules,
        needed=targets.weights > 0,
        noise=noise,
    )
    value, token_losses = linear_cross_entropy(
        hidden.reshape(-1, hidden.shape[-1]),
        decoder.head_matrix(params, model),
        targets.labels.reshape(-1),
        targets.weights.reshape(-1),
        softcap=model.logit_cap,
        z_loss=loss.z_loss,
        label_smoothing=loss.label_smoothing,
        axes=LossAxes(
            tokens=rules.mesh_axes("batch"),
            vocab=rules.mesh_axes("vocab"),
            embed=rules.mesh_axes("embed"),
            reduce_dtype=rules.reduce_dtype,
        ),
    )
    token_losses = token_losses.reshape(targets.labels.shape)
    return value, class_sums(token_losses, targets.classes, targets.exists, targets.weights)
