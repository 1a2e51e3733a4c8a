"""Attention within segments in JAX, forward and backward: ours, and JAX's own with the whole mask."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from im_jax.bench.case import Case, attention_inputs, attention_mask
from im_jax.bench.contestant import CannotRun, Contestant, Values
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.attention_values import describe_result
from im_jax.errors import ConfigError

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""From queries, keys, values, and segments or a mask."""


def make(case: Case, variant: str) -> Contestant:
    """One compiled call: the output, and the gradients of queries, keys and values."""
    inputs = attention_inputs(case)
    name, _, implementation = variant.partition(":")
    attend = _ours(implementation) if name == "im_jax" else _whole_mask
    # A model makes its mask once for all layers: it is an argument here.
    structure = inputs.segments if name == "im_jax" else attention_mask(inputs.segments)
    arguments = (*(jnp.asarray(x, case.dtype) for x in inputs[:4]), jnp.asarray(structure))

    def step(
        query: jax.Array, key: jax.Array, value: jax.Array, d_output: jax.Array, structure: jax.Array
    ) -> tuple[jax.Array, ...]:
        def attend_within(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
            return attend(query, key, value, structure)

        output, backward = jax.vjp(attend_within, query, key, value)
        return (output, *backward(d_output))

    def values(result: Any) -> Values:
        return describe_result(*map(jax_backend.to_numpy, result))

    try:
        return jax_backend.contestant(step, arguments, values)
    except ConfigError as error:
        raise CannotRun(str(error)) from error


def _ours(implementation: str) -> Attend:
    from im_jax.models.attention.dispatch import segment_attention
    from im_jax.models.attention.spec import AttentionSpec

    def attend(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return segment_attention(
            query, key, value, segments, spec=AttentionSpec(), implementation=implementation
        )

    return attend


def _whole_mask(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    return jax.nn.dot_product_attention(query, key, value, mask=mask)
