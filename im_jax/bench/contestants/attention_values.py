"""What contestants of the attention benchmark are compared by, and the same in float64."""

import itertools

import jaxtyping as jt
import numpy as np

from im_jax.bench.case import Case, attention_inputs, attention_mask
from im_jax.bench.contestant import Contestant, Values, describe
from im_jax.bench.contestants.rounding import rounded


def describe_result(
    output: jt.Float[np.ndarray, "B L H K"],
    d_query: jt.Float[np.ndarray, "B L H K"],
    d_key: jt.Float[np.ndarray, "B L H K"],
    d_value: jt.Float[np.ndarray, "B L H K"],
) -> Values:
    """Norms and samples of the output and the gradients."""
    arrays = {"output": output, "d_query": d_query, "d_key": d_key, "d_value": d_value}
    values: Values = {}
    for name, array in arrays.items():
        values |= describe(name, array.reshape(-1, array.shape[-1]))
    return values


def make(case: Case, variant: str) -> Contestant:
    """The reference: NumPy in float64, from inputs rounded to the case's type. Not timed."""
    del variant
    inputs = attention_inputs(case)
    query, key, value, d_output = (rounded(x, case.dtype) for x in inputs[:4])
    mask, scale = attention_mask(inputs.segments), case.shape[3] ** -0.5

    def values() -> Values:
        output, d_query, d_key, d_value = (np.empty_like(query) for _ in range(4))
        for row, head in itertools.product(range(case.shape[0]), range(case.shape[2])):
            at = (row, slice(None), head)
            scores = np.where(mask[row, 0], query[at] @ key[at].T * scale, -np.inf)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            output[at] = weights @ value[at]
            d_value[at] = weights.T @ d_output[at]
            d_weights = d_output[at] @ value[at].T
            d_scores = weights * (d_weights - np.sum(d_weights * weights, axis=1, keepdims=True)) * scale
            d_query[at] = d_scores @ key[at]
            d_key[at] = d_scores.T @ query[at]
        flops = 12 * int(mask.sum()) * case.shape[2] * case.shape[3]
        return {"flops": flops, **describe_result(output, d_query, d_key, d_value)}

    return Contestant(lambda: None, values, "cpu", {})
