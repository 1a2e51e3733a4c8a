"""Weighted sums of row losses as differentiable functions, on one device or on a mesh.

The gradients are made in the forward pass (6 N D V operations, where recomputing logits would take 8), so
weights must be known there: they are an input, and the backward pass only scales. The mesh is entered
inside: autodiff never sees a `shard_map`.
"""

import dataclasses
import functools
import math
from typing import Any, Final

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.sharding import PartitionSpec

from im_jax.devices import platform
from im_jax.losses import blockwise
from im_jax.losses.blockwise import Forward, Objective, Plan, Result, Vocabulary
from im_jax.products import multiplied_type


@dataclasses.dataclass(frozen=True)
class LossAxes:
    """Mesh axes of the mesh that `jax.set_mesh` set; axes that it lacks do not count."""

    tokens: tuple[str, ...] = ()
    """Over which rows are split."""
    vocab: tuple[str, ...] = ()
    """Over which the head's columns are split."""
    embed: tuple[str, ...] = ()
    """Over which the head's rows are split where it is kept; they are gathered for the loss."""
    reduce_dtype: str = "float32"
    """Type in which the gradient of the head is summed over devices that split the rows."""


UNSHARDED: Final = LossAxes()


@dataclasses.dataclass(frozen=True)
class _Static:
    objective: Objective
    axes: LossAxes
    plan: Plan
    forward: Forward | None


def weighted_loss(
    objective: Objective,
    hidden: jt.Float[jax.Array, "N D"],
    head: jt.Float[jax.Array, "D V"],
    weights: jt.Float32[jax.Array, " N"],
    rows: Any,
    constants: Any = (),
    *,
    axes: LossAxes,
    plan: Plan | None = None,
    forward: Forward | None = None,
) -> tuple[jt.Float32[jax.Array, ""], Any]:
    """Sum of `weights` x the objective's first value over rows of weight above zero.

    Args:
        objective: see `im_jax.losses.blockwise`.
        hidden: differentiated.
        head: differentiated; its gradient has its own type, whatever that of `hidden`.
        weights: data.
        rows: pytree of `[N, ...]` arrays for the objective; data.
        constants: pytree of `[D, V]` arrays for the objective, split like the head; data.
        axes: how the arrays lie on the mesh.
        plan: block sizes; None: those of the platform.
        forward: a kernel for the values alone, used where nothing is differentiated and the head is whole.

    Returns:
        The sum, and all values of each row, which carry no gradient.
    """
    wide = multiplied_type(hidden.dtype)
    if plan is None:
        plan = _plan(widened=wide != hidden.dtype)
    if wide != hidden.dtype:
        hidden, head = hidden.astype(wide), head.astype(wide)
    static = _Static(objective, axes, plan, forward)
    frozen = jax.lax.stop_gradient((weights, rows, constants))
    loss, values = _weighted_loss(static, hidden, head, *frozen)
    return loss, jax.lax.stop_gradient(values)


def _plan(*, widened: bool) -> Plan:
    if platform() != "cpu":
        return blockwise.ACCELERATOR
    return blockwise.CPU_WIDENED if widened else blockwise.CPU


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted_loss(
    static: _Static, hidden: jax.Array, head: jax.Array, weights: jax.Array, rows: Any, constants: Any
) -> tuple[jax.Array, Any]:
    loss, result = _on_mesh(static, (False, False), hidden, head, weights, rows, constants)
    return loss, result.values


def _forward(static: _Static, *inputs: Any) -> Any:
    """Values, and as residuals the gradients of what is differentiated (what is frozen costs nothing)."""
    hidden, head = inputs[:2]
    gradients = (hidden.perturbed, head.perturbed)
    loss, result = _on_mesh(static, gradients, *jax.tree.map(lambda x: x.value, inputs))
    d_head = None if result.d_head is None else result.d_head.astype(head.value.dtype)
    found = result.d_hidden, d_head
    if jax.sharding.get_abstract_mesh().size > 1:
        # Or the compiler sums the gradient of the head over devices last of all, and each holds a whole one
        # through the backward pass of the decoder.
        found = jax.lax.optimization_barrier(found)
    return (loss, result.values), found


def _backward(static: _Static, gradients: Any, cotangents: Any) -> Any:
    del static
    scale = cotangents[0]
    if not isinstance(scale, jax.Array):  # a symbolic zero: nothing depends on the loss
        return (None,) * 5
    scaled = [None if x is None else (scale * x).astype(x.dtype) for x in gradients]
    return (*scaled, None, None, None)


_weighted_loss.defvjp(_forward, _backward, symbolic_zeros=True)


def _on_mesh(
    static: _Static,
    gradients: tuple[bool, bool],
    hidden: jax.Array,
    head: jax.Array,
    weights: jax.Array,
    rows: Any,
    constants: Any,
) -> tuple[jax.Array, Result]:
    """The loss and the gradients, each device on its own rows and columns."""
    # Cast before they are gathered: half the bytes travel.
    head, *constants = (x.astype(hidden.dtype) for x in (head, *constants))
    axes = static.axes
    tokens, vocab, embed = (_present(x) for x in (axes.tokens, axes.vocab, axes.embed))
    if not (tokens or vocab):
        whole = Vocabulary(head.shape[1])
        return _local(static, gradients, hidden, head, weights, rows, constants, vocabulary=whole)

    size, shards = head.shape[1], _size(vocab)
    vocabulary = Vocabulary(size, vocab, shards)
    missing = -size % shards
    head, *constants = (jnp.pad(x, ((0, 0), (0, missing))) for x in (head, *constants))
    scattered = embed if embed and head.shape[0] % _size(embed) == 0 and set(embed) <= set(tokens) else ()
    summed = tuple(axis for axis in tokens if axis not in scattered)

    def shard(*arrays: Any) -> tuple[jax.Array, Result]:
        loss, result = _local(static, gradients, *arrays, vocabulary=vocabulary)
        d_head = result.d_head
        if d_head is not None and tokens:
            d_head = d_head.astype(axes.reduce_dtype)
            if scattered:
                d_head = jax.lax.psum_scatter(d_head, scattered, scatter_dimension=0, tiled=True)
            d_head = jax.lax.psum(d_head, summed) if summed else d_head
        return jax.lax.psum(loss, tokens) if tokens else loss, result._replace(d_head=d_head)

    by_row, columns = PartitionSpec(tokens or None), PartitionSpec(None, vocab or None)
    by_leaf: Any = Result(by_row, by_row, PartitionSpec(scattered or None, vocab or None))  # type: ignore[arg-type]
    loss, result = jax.shard_map(
        shard,
        in_specs=(by_row, columns, by_row, by_row, columns),
        out_specs=(PartitionSpec(), by_leaf),
        check_vma=False,  # rows have trip counts of their own, so types that vary by device are meant
    )(hidden, head, weights, rows, constants)
    if result.d_head is not None and missing:
        result = result._replace(d_head=result.d_head[:, :size])
    return loss, result


def _local(
    static: _Static,
    gradients: tuple[bool, bool],
    hidden: jax.Array,
    head: jax.Array,
    weights: jax.Array,
    rows: Any,
    constants: Any,
    *,
    vocabulary: Vocabulary,
) -> tuple[jax.Array, Result]:
    active = weights > 0
    if static.forward is not None and not any(gradients) and not vocabulary.axes:
        values = blockwise.values_of(static.forward, hidden, head, active, rows)
        result = Result(values, d_hidden=None, d_head=None)
    else:
        result = blockwise.reduce_blocks(
            static.objective,
            hidden,
            head,
            active,
            rows,
            constants,
            vocabulary=vocabulary,
            plan=static.plan,
            gradients=gradients,
        )
    loss = jnp.sum(jnp.where(active, weights, 0) * result.values[0])
    return loss, result


def _present(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those axes that the mesh has with more than one device."""
    shape = jax.sharding.get_abstract_mesh().shape
    return tuple(axis for axis in axes if shape.get(axis, 1) > 1)


def _size(axes: tuple[str, ...]) -> int:
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape[axis] for axis in axes)
