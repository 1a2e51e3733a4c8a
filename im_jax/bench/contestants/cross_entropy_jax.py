"""Loss and both gradients of a linear head in JAX: ours, optax, tiles with recomputation, tokamax."""

import inspect
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax

from im_jax.bench.case import Case, cross_entropy_inputs
from im_jax.bench.contestant import CannotRun, Contestant, Values, load
from im_jax.bench.contestants import jax_backend
from im_jax.bench.contestants.cross_entropy_values import describe_result

Loss = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""From hidden states, head, labels and weights."""
_TILE: Final = 512
"""Most tokens of a tile of `scan_recompute`."""


def make(case: Case, variant: str) -> Contestant:
    """One compiled call: the loss and its gradients by the hidden states and the head."""
    inputs = cross_entropy_inputs(case)
    arguments = (
        jnp.asarray(inputs.hidden, case.dtype),
        jnp.asarray(inputs.head, case.dtype),
        jnp.asarray(inputs.labels),
        jnp.asarray(inputs.active / np.sum(inputs.active), jnp.float32),
    )
    step = jax.value_and_grad(_loss(case, variant), argnums=(0, 1))

    def values(result: Any) -> Values:
        loss, gradients = result
        return describe_result(inputs, float(loss), *map(jax_backend.to_numpy, gradients))

    return jax_backend.contestant(step, arguments, values)


def _loss(case: Case, variant: str) -> Loss:
    name, _, implementation = variant.partition(":")
    match name:
        case "im_jax":
            return _ours(implementation)
        case "optax":
            return _optax
        case "optax_cast" if case.dtype == "float32":
            raise CannotRun("the same program as optax in float32")
        case "optax_cast":
            return _optax_cast
        case "scan_recompute":
            return _scan_recompute
        case _:
            return _tokamax(implementation)


def _ours(implementation: str) -> Loss:
    from im_jax.losses.cross_entropy import linear_cross_entropy

    def loss(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
        return linear_cross_entropy(hidden, head, labels, weights, implementation=implementation)[0]

    return loss


def _optax(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """All logits, accumulated and kept in float32."""
    logits = jnp.dot(hidden, head, preferred_element_type=jnp.float32)
    return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def _optax_cast(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """All logits, rounded to the type of the hidden states first: products of the backward pass are too."""
    logits = jnp.dot(hidden, head).astype(jnp.float32)
    return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def _scan_recompute(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Tiles of tokens, whose logits the backward pass computes again."""
    tokens = labels.size
    tile = max(size for size in range(1, min(tokens, _TILE) + 1) if tokens % size == 0)

    def add(total: jax.Array, tokens: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        return total + _optax(tokens[0], head, *tokens[1:]), None

    tiles = jax.tree.map(lambda x: x.reshape(-1, tile, *x.shape[1:]), (hidden, labels, weights))
    return jax.lax.scan(jax.checkpoint(add), jnp.zeros((), jnp.float32), tiles)[0]


def _tokamax(implementation: str) -> Loss:
    tokamax = load("tokamax")
    op = tokamax.linear_softmax_cross_entropy_loss
    package = load(inspect.getmodule(op).__name__)  # type: ignore[union-attr]
    known = list(package.IMPLEMENTATIONS)
    if implementation not in known:
        raise CannotRun(f"tokamax {tokamax.__version__} has {', '.join(known)}")
    per_token = "none" in str(inspect.signature(op).parameters["reduction"].annotation)

    def loss(hidden: jax.Array, head: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
        if per_token:
            losses = op(hidden, labels, head, reduction="none", implementation=implementation)
            return jnp.sum(weights * losses)
        # A version that only sums takes no weights. Hidden states of 0 have logits of 0: a loss of log V,
        # taken off again, and no part in the head's gradient. The weights here are all equal.
        active = weights > 0
        total = op(jnp.where(active[:, None], hidden, 0), labels, head, implementation=implementation)
        masked = jnp.sum(~active) * jnp.log(head.shape[1])
        return (total - masked) * jnp.max(weights)

    return loss
