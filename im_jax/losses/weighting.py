"""From token classes to the weight of every target, normalised over a whole optimiser step.

Every reduction becomes a weighting, computed *before* the step is cut into micro-batches and over all
devices. The loss is then always one thing, the sum of weight x negative log-likelihood, and does not
depend on packing, accumulation or the mesh.

    reduction       weight of a target with class (and message) weight w
    token_mean      w / (sum of w over the step)
    example_mean    w / (sum of w over its example) / (number of examples with a target)
    nonzero_count   w / (number of targets with w > 0 in the step)
    sum             w

`example_mean` is what the released Instruction Modelling code computes (one sequence per device, a
token mean each, averaged); `nonzero_count` is that of weighted instruction tuning (Chatterjee et al.,
TACL 2025).
"""

import jax
import jax.numpy as jnp
import jaxtyping as jt
import numpy as np

from im_jax.batch import Batch


def target_mask(segments: jt.Int[jt.Array, "B L"]) -> jt.Bool[jt.Array, "B L"]:
    """Where a token has a target: the next token exists and belongs to the same example.

    segments  1 1 1 2 2 0
    mask      1 1 0 1 0 0
    """
    same = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    return jnp.pad(same, ((0, 0), (0, 1)))


def shift_to_targets(values: jt.Shaped[jt.Array, "B L"]) -> jt.Shaped[jt.Array, "B L"]:
    """`values` of each position's next token; the last column, which has none, is 0."""
    return jnp.pad(values[:, 1:], ((0, 0), (0, 1)))


def target_weights(
    batch: Batch, class_weights: jt.Float32[jt.Array | np.ndarray, " C"]
) -> jt.Float32[jt.Array, "B L"]:
    """Weight of the target of each position, before normalisation.

    Args:
        batch: all rows of an optimiser step.
        class_weights: of a policy; a message weight from the data multiplies them.

    Returns:
        Weights at the position that *predicts* the target; 0 where there is no target.
    """
    table = jnp.asarray(class_weights)
    weights = table[shift_to_targets(batch.classes)] * shift_to_targets(batch.message_weights)
    return jnp.where(target_mask(batch.segments), weights, 0.0)


def normalise(
    weights: jt.Float32[jt.Array, "B L"], segments: jt.Int[jt.Array, "B L"], reduction: str
) -> jt.Float32[jt.Array, "B L"]:
    """Scale the weights of a whole optimiser step by a reduction. All zeros stay zeros."""
    match reduction:
        case "sum":
            return weights
        case "token_mean":
            return _divide(weights, jnp.sum(weights))
        case "nonzero_count":
            return _divide(weights, jnp.sum(weights > 0, dtype=jnp.float32))
        case "example_mean":
            per_example = sum_by_example(weights, segments)
            examples = jnp.sum(per_example > 0, dtype=jnp.float32)
            own_sum = jnp.take_along_axis(per_example, segments, axis=1)
            return _divide(_divide(weights, own_sum), examples)
    raise ValueError(f"unknown reduction {reduction!r}")


def sum_by_example(
    weights: jt.Float32[jt.Array, "B L"], segments: jt.Int[jt.Array, "B L"]
) -> jt.Float32[jt.Array, "B S"]:
    """Sum per segment of each row, that of padding too; S = L + 1 bounds the segments a row can hold."""
    length = weights.shape[1]

    def one_row(row_weights: jax.Array, row_segments: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(row_weights, row_segments, num_segments=length + 1)

    return jax.vmap(one_row)(weights, segments)


def _divide(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """Quotient that is 0 where the denominator is 0, which only happens where the numerator is."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), 0.0)
