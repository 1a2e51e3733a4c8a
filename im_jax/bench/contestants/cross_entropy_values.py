"""What contestants of the cross-entropy benchmark are compared by, and the same in float64."""

import jaxtyping as jt
import numpy as np

from im_jax.bench.case import SEED, Case, CrossEntropyInputs, cross_entropy_inputs
from im_jax.bench.contestant import Contestant, Values, describe
from im_jax.bench.contestants.rounding import rounded

_BLOCK = 256
"""Tokens at a time: the logits of all of them in float64 could be too much."""


def describe_result(
    inputs: CrossEntropyInputs,
    loss: float,
    d_hidden: jt.Float[np.ndarray, "N D"],
    d_head: jt.Float[np.ndarray, "D V"],
) -> Values:
    """The loss, and norms and samples of the gradients; half of the head's columns are those of labels."""
    labels = inputs.labels[inputs.active]
    others = np.random.default_rng(SEED).integers(0, d_head.shape[1], labels.size)
    return {
        "loss": loss,
        **describe("d_hidden", d_hidden, rows=np.flatnonzero(inputs.active)),
        **describe("d_head", d_head, columns=np.concatenate([labels, others])),
    }


def make(case: Case, variant: str) -> Contestant:
    """The reference: NumPy in float64, from inputs rounded to the case's type. Not timed."""
    del variant
    inputs = cross_entropy_inputs(case)
    hidden, head = rounded(inputs.hidden, case.dtype), rounded(inputs.head, case.dtype)

    def values() -> Values:
        rows = np.flatnonzero(inputs.active)
        loss, d_hidden, d_head = 0.0, np.zeros_like(hidden), np.zeros_like(head)
        for first in range(0, rows.size, _BLOCK):
            block = rows[first : first + _BLOCK]
            x, here, labels = hidden[block], np.arange(block.size), inputs.labels[block]
            logits = x @ head
            logits -= logits.max(axis=1, keepdims=True)
            label_logits = logits[here, labels]
            gradient = np.exp(logits, out=logits)
            sums = gradient.sum(axis=1, keepdims=True)
            loss += float(np.sum(np.log(sums[:, 0]) - label_logits))
            gradient /= sums
            gradient[here, labels] -= 1
            gradient /= rows.size
            d_hidden[block] = gradient @ head.T
            d_head += x.T @ gradient
        flops = 6 * rows.size * head.size
        return {"flops": flops, **describe_result(inputs, loss / rows.size, d_hidden, d_head)}

    return Contestant(lambda: None, values, "cpu", {})
