"""The loop that pays only for rows of weight above zero, and never holds N x V logits.

Rows that carry loss are gathered, a block at a time, into one product with the head; the objective turns
the block's logits into losses and into the gradient of the logits, which is spent at once on the gradients
of the hidden states and of the head. The number of blocks is data: another mask needs no compilation, and
N, D, V stay static.
"""

import math
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.loops import bounded_loop
from im_jax.products import product_of_columns, transpose

_ROWS_TIMES_HEAD = (((1,), (1,)), ((), ()))  # [b, V] x [D, V] -> [b, D]


class Plan(NamedTuple):
    """How a platform likes its blocks. One program holds a loop for each size and picks by data."""

    sizes: tuple[int, ...]
    """Rows of a block, ascending."""
    trip_cost: int
    """What a trip costs beside its rows, in rows: the head's gradient is read and written once a trip."""
    head_grad_rows: int | None
    """Rows of the head's gradient, at least, that a block's share is made and added at a time; None: all."""


# Measured with GPT-2's shape on two cores (docs/performance.md). A slice of the head's gradient is added
# while it is in the cache, and the share of a whole block never exists.
CPU: Plan = Plan(sizes=(64, 128, 256, 512), trip_cost=32, head_grad_rows=192)
# For bfloat16 where a CPU has no instructions for it, and multiplies all in float32 (im_jax/products.py): XLA
# then takes other kernels, which want larger products.
CPU_WIDENED: Plan = Plan(sizes=(64, 256, 1024), trip_cost=32, head_grad_rows=None)
# Sums of products accumulate in place there (beta = 1). The cost of a trip is the ratio of arithmetic to
# bandwidth: about 700 TFLOP/s against 3.3 TB/s.
ACCELERATOR: Plan = Plan(sizes=(128, 512, 2048), trip_cost=400, head_grad_rows=None)


class Vocabulary(NamedTuple):
    """The columns of the head that this device holds."""

    size: int
    """Entries of the whole vocabulary."""
    axes: tuple[str, ...] = ()
    """Mesh axes that the columns are split over, evenly and in order; () where the head is whole."""
    shards: int = 1
    """Product of the sizes of these axes."""

    def ids(self, logits: jax.Array) -> jt.Int32[jax.Array, "b V"]:
        """The token id of each column of a block's logits."""
        width = logits.shape[1]
        first = jax.lax.axis_index(self.axes) * width if self.axes else 0
        return first + jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)

    def padded(self, logits: jax.Array) -> bool:
        """Whether columns past the vocabulary were added to split it evenly."""
        return logits.shape[1] * self.shards != self.size

    def max(self, x: jax.Array) -> jax.Array:
        """Maximum over the shards."""
        return jax.lax.pmax(x, self.axes) if self.axes else x

    def sum(self, x: Any) -> Any:
        """Sum over the shards, of any pytree, in one exchange."""
        return jax.lax.psum(x, self.axes) if self.axes else x


@typing.runtime_checkable
class Objective(Protocol):
    """What is done to a block of logits. Hashable, so that it can be a static argument."""

    def block(
        self, logits: jt.Float32[jax.Array, "b V"], rows: Any, constants: Any, vocabulary: Vocabulary
    ) -> tuple[Any, jt.Float32[jax.Array, "b V"]]:
        """Values of each row (a pytree of `[b]`), and the gradient of the weighted loss by the logits."""
        ...


Forward = Callable[[jax.Array, jax.Array, Any, jax.Array], Any]
"""`(hidden, head, rows, count) -> values`: values of the first `count` rows, zeros behind."""


class Result(NamedTuple):
    """Of all rows; those that are not active have zeros."""

    values: Any
    """What the objective returned, each `[N]`."""
    d_hidden: jt.Float[jax.Array, "N D"] | None
    d_head: jt.Float32[jax.Array, "D V"] | None


def reduce_blocks(
    objective: Objective,
    hidden: jt.Float[jax.Array, "N D"],
    head: jt.Float[jax.Array, "D V"],
    active: jt.Bool[jax.Array, " N"],
    rows: Any,
    constants: Any,
    *,
    vocabulary: Vocabulary,
    plan: Plan,
    gradients: tuple[bool, bool],
) -> Result:
    """Apply an objective to the logits `hidden @ head` of the active rows.

    Args:
        objective: from logits to values and the gradient of the logits.
        hidden: rows; what the inactive ones hold has no influence.
        head: in the type of `hidden`; products accumulate in float32.
        active: which rows count.
        rows: pytree of `[N, ...]` arrays that the objective takes with each row.
        constants: pytree that it takes whole.
        vocabulary: the columns of `head`.
        plan: block sizes.
        gradients: whether those of hidden and head are wanted; what is not wanted is not computed.
    """
    order, place, count = _compaction(active)

    def in_blocks_of(size: int) -> Callable[[], Result]:
        def run() -> Result:
            return _loop(
                objective,
                hidden,
                head,
                rows,
                constants,
                order,
                count,
                size=size,
                vocabulary=vocabulary,
                head_grad_rows=plan.head_grad_rows,
                gradients=gradients,
            )

        return run

    sizes = _sizes(plan.sizes, active.size)
    work = jnp.stack([(count + size - 1) // size * (size + plan.trip_cost) for size in sizes])
    compact = jax.lax.switch(jnp.argmin(work), [in_blocks_of(size) for size in sizes])
    values, d_hidden = _take((compact.values, compact.d_hidden), place)
    return Result(values, d_hidden, compact.d_head)


def values_of(
    forward: Forward,
    hidden: jt.Float[jax.Array, "N D"],
    head: jt.Float[jax.Array, "D V"],
    active: jt.Bool[jax.Array, " N"],
    rows: Any,
) -> Any:
    """What a kernel for the values alone gives for the active rows; zeros for the others."""
    order, place, count = _compaction(active)
    return _take(forward(_take(hidden, order), head, _take(rows, order), count), place)


def _compaction(active: jt.Bool[jax.Array, " N"]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The rows that are active, in their own order so that the result is deterministic; where each row is
    among them; and how many there are. N, which is past the end, stands for none."""
    size = active.size
    order = jnp.nonzero(active, size=size, fill_value=size)[0].astype(jnp.int32)
    place = jnp.where(active, jnp.cumsum(active, dtype=jnp.int32) - 1, size)
    return order, place, jnp.sum(active, dtype=jnp.int32)


def _take(tree: Any, index: jt.Int32[jax.Array, " b"]) -> Any:
    """Rows of every array of a pytree; zeros where the index is past the end."""
    return jax.tree.map(lambda x: x.at[index].get(mode="fill", fill_value=0), tree)


def _sizes(sizes: Sequence[int], rows: int) -> tuple[int, ...]:
    """The sizes of a plan for an array of rows: none is larger, and one holds them all if it is small."""
    return (*(size for size in sizes if size < rows), *([max(rows, 1)] if rows <= sizes[-1] else []))


def _loop(
    objective: Objective,
    hidden: jax.Array,
    head: jax.Array,
    rows: Any,
    constants: Any,
    order: jax.Array,
    count: jax.Array,
    *,
    size: int,
    vocabulary: Vocabulary,
    head_grad_rows: int | None,
    gradients: tuple[bool, bool],
) -> Result:
    """Blocks of one size; the result's rows are the active ones, in order, then zeros."""
    total = math.ceil(order.size / size) * size
    order = jnp.pad(order, (0, total - order.size), constant_values=hidden.shape[0])

    def block(index: jax.Array | int) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
        """Values, hidden states and gradient of the logits of a block, and which of its rows exist."""
        first = index * size
        chosen = jax.lax.dynamic_slice(order, (first,), (size,))

        x = _take(hidden, chosen)
        logits = jnp.dot(x, head, preferred_element_type=jnp.float32)
        values, d_logits = objective.block(logits, _take(rows, chosen), constants, vocabulary)
        return values, x, d_logits.astype(head.dtype), first + jnp.arange(size) < count

    def step(index: jax.Array, result: Result) -> Result:
        values, x, d_logits, exists = block(index)
        position = (index * size,)

        def store(whole: jax.Array, part: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice(whole, jnp.where(exists, part, 0), position)

        d_hidden, d_head = result.d_hidden, result.d_head
        if d_hidden is not None:
            part = jax.lax.dot_general(d_logits, head, _ROWS_TIMES_HEAD, preferred_element_type=jnp.float32)
            part = vocabulary.sum(part).astype(d_hidden.dtype)
            d_hidden = jax.lax.dynamic_update_slice(d_hidden, part, (*position, 0))
        if d_head is not None:
            d_head = _add_product(d_head, x, d_logits, head_grad_rows)
        return Result(jax.tree.map(store, result.values, values), d_hidden, d_head)

    shapes = jax.eval_shape(lambda: block(0)[0])
    empty = Result(
        values=jax.tree.map(lambda s: jnp.zeros(total, s.dtype), shapes),
        d_hidden=jnp.zeros((total, hidden.shape[1]), hidden.dtype) if gradients[0] else None,
        d_head=jnp.zeros(head.shape, jnp.float32) if gradients[1] else None,
    )
    result = bounded_loop((count + size - 1) // size, total // size, step, empty)
    # Block sizes differ in `total`, branches of a switch must not.
    values, d_hidden = jax.tree.map(lambda x: x[: hidden.shape[0]], (result.values, result.d_hidden))
    return Result(values, d_hidden, result.d_head)


def _add_product(
    total: jt.Float32[jax.Array, "D V"],
    x: jt.Float[jax.Array, "b D"],
    d_logits: jt.Float[jax.Array, "b V"],
    rows: int | None,
) -> jt.Float32[jax.Array, "D V"]:
    """`total + x.T @ d_logits`, in slices of at least `rows` rows."""
    dim = total.shape[0]
    most = max(1, dim // rows) if rows else 1
    parts = max(part for part in range(1, most + 1) if dim % part == 0)
    height = dim // parts
    if parts == 1:
        return total + product_of_columns(x, d_logits)
    # Kept apart from the product, or XLA would fold it into each slice's.
    transposed = jax.lax.optimization_barrier(transpose(x))

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        corner = (index * height, 0)
        part = jax.lax.dynamic_slice(transposed, corner, (height, x.shape[0]))
        product = jnp.dot(part, d_logits, preferred_element_type=jnp.float32)
        old = jax.lax.dynamic_slice(total, corner, (height, total.shape[1]))
        return jax.lax.dynamic_update_slice(total, old + product, corner)

    return jax.lax.fori_loop(0, parts, add, total)
