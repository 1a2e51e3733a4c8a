"""A Pallas TPU kernel for what the loss needs of each row of logits, without the N x V logits."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping as jt
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES = 128
# Rows multiplied at a time: enough to keep the matrix unit busy while it loads the next weights, few enough
# that a batch with little loss is not rounded up to much more.
CHUNK = 256
# The default limit of a kernel (16 MiB on v5e and v5p, 32 MiB on v6e) would need tiles so small that the head
# is read too often. v5p has the least VMEM of the three, 64 MiB a core, and XLA keeps some of it for itself.
# The budget is below the limit, as `vmem_bytes` is an estimate: up to 2 MiB under what the compiler takes.
# v4 has 16 MiB: there the compiler refuses most shapes.
VMEM_BUDGET = 48 * 2**20
VMEM_LIMIT = 52 * 2**20
# A finite start of the running maximum, so that maximum - maximum is never inf - inf.
LOWEST = -1e38


class RowStatistics(NamedTuple):
    """What is known of each row of logits; logits after the softcap.

    log_partition: log of the sum of exp(logits).
    label_logit: the logit of the label.
    logit_sum: sum of the logits over the vocabulary.
    """

    log_partition: jt.Float32[jt.Array, " N"]
    label_logit: jt.Float32[jt.Array, " N"]
    logit_sum: jt.Float32[jt.Array, " N"]


class Blocks(NamedTuple):
    """Tile sizes: rows are streamed past head tiles of `depth` x `vocabulary`."""

    rows: int
    vocabulary: int
    depth: int


def supported(hidden: jax.Array, head: jax.Array | jax.ShapeDtypeStruct) -> str | None:
    """Why `row_statistics` cannot take these arrays (only shapes and types are looked at), or None."""
    if hidden.dtype not in (jnp.float32, jnp.bfloat16):
        return f"the hidden states are {hidden.dtype}; the kernel takes float32 and bfloat16"
    if head.dtype != hidden.dtype:
        return f"the head is {head.dtype} and the hidden states are {hidden.dtype}; the kernel takes one type"
    if hidden.size == 0 or head.size == 0:
        return f"hidden states {hidden.shape} or head {head.shape} are empty"
    return None


def block_sizes(n: int, d: int, v: int, itemsize: int, budget: int = VMEM_BUDGET) -> Blocks:
    """The largest tiles that fit `budget` bytes of VMEM.

    Every block of rows reads the whole head, so blocks of many rows come first: 1024 rows do 1024 FLOP for
    each byte of a bf16 head, above the 240 (v5e) to 560 (v6e) at which the matrix unit and not memory is the
    limit. With the whole depth in one tile the hidden states are read once; where that does not fit, the
    depth is tiled, and a wide vocabulary tile keeps the hidden states from being read too often.

    Args:
        n, d, v: rows, hidden size, vocabulary.
        itemsize: bytes of an element of the hidden states and the head.
        budget: bytes of VMEM.
    """
    most_rows = min(1024, round_up(n, CHUNK))
    most_columns = round_up(v, LANES)
    for rows, vocabulary in ((1024, 512), (1024, 256), (512, 512), (512, 256)):
        blocks = Blocks(min(rows, most_rows), min(vocabulary, most_columns), d)
        if vmem_bytes(blocks, d, itemsize) <= budget:
            return blocks
    return Blocks(most_rows, min(1024, most_columns), min(512, d))


def vmem_bytes(blocks: Blocks, d: int, itemsize: int) -> int:
    """Bytes of VMEM that the kernel takes: tiles, their double buffers, scratch and temporaries."""
    rows, vocabulary, depth = blocks.rows, round_up(blocks.vocabulary, LANES), round_up(blocks.depth, LANES)
    tiled = blocks.depth < d
    hidden = rows * depth * itemsize * (2 if tiled else 1)
    head = depth * vocabulary * itemsize * 2
    accumulator = rows * vocabulary * 4 if tiled else 0
    # Labels and results are columns, which VMEM pads to 128 lanes; both are double-buffered.
    columns = rows * LANES * 4 * (2 * 2 + 4)
    # The compiler copies a chunk out of its block, and splits each f32 operand into three bf16 terms.
    temporaries = CHUNK * (depth * itemsize + vocabulary * 4)
    terms = (CHUNK + vocabulary) * depth * 3 * 2 if itemsize == 4 else 0
    return hidden + head + accumulator + columns + temporaries + terms


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def row_statistics(
    hidden: jt.Float[jt.Array, "N D"],
    head: jt.Float[jt.Array, "D V"],
    labels: jt.Int32[jt.Array, " N"],
    count: jt.Int32[jt.Array, ""],
    *,
    softcap: float | None,
    interpret: bool = False,
) -> RowStatistics:
    """Log-partition, label logit and sum of the logits `hidden @ head` for the first `count` rows.

    The vocabulary is visited tile by tile with a running logsumexp in f32 (Milakov and Gimelshein, "Online
    normalizer calculation for softmax", 2018). The grid ends with the last block that holds one of the first
    `count` rows, so the cost follows `count`, while one compilation serves every value of it.
    It runs on one device: with several, call it inside `jax.shard_map(..., check_vma=False)`.

    Args:
        hidden: f32 or bf16; rows at or after `count` have no influence, whatever they hold.
        head: of the type of `hidden`. Products are taken in this type (f32 is not rounded to bf16) and
            summed in f32.
        labels: in [0, V).
        count: number of leading rows that matter, in [0, N]; traced.
        softcap: bound of the logits, as in Gemma 2: softcap * tanh(logits / softcap).
        interpret: run on the CPU, for tests.

    Returns:
        f32 [N] each; 0 at or after `count`.

    Raises:
        ValueError: if `supported` gives a reason.
    """
    reason = supported(hidden, head)
    if reason is not None:
        raise ValueError(f"the Pallas TPU kernel cannot be used: {reason}")
    (n, d), v = hidden.shape, head.shape[1]
    blocks = block_sizes(n, d, v, hidden.dtype.itemsize)
    tiled = blocks.depth < d
    # At least one block of rows: whether a grid of size 0 is skipped cleanly is not specified.
    row_blocks = jnp.maximum(1, pl.cdiv(count, blocks.rows))
    columns = (blocks.rows, LANES)
    results = pl.pallas_call(
        functools.partial(kernel, blocks=blocks, d=d, v=v, softcap=softcap),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(row_blocks, pl.cdiv(v, blocks.vocabulary), pl.cdiv(d, blocks.depth)),
            in_specs=[
                pl.BlockSpec(
                    (blocks.rows, blocks.depth),
                    lambda i, j, k, _: (i, k),
                    # Changed once in a pass over the head: a second buffer would hide next to nothing.
                    pipeline_mode=None if tiled else pl.Buffered(1),
                ),
                pl.BlockSpec((blocks.depth, blocks.vocabulary), lambda i, j, k, _: (k, j)),
                pl.BlockSpec((blocks.rows, 1), lambda i, j, k, _: (i, 0)),
            ],
            out_specs=pl.BlockSpec((blocks.rows, 3), lambda i, j, k, _: (i, 0)),
            scratch_shapes=[
                *[pltpu.VMEM(columns, jnp.float32)] * 4,
                *([pltpu.VMEM((blocks.rows, blocks.vocabulary), jnp.float32)] if tiled else []),
            ],
        ),
        out_shape=jax.ShapeDtypeStruct((n, 3), jnp.float32),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary", "arbitrary", "arbitrary"), vmem_limit_bytes=VMEM_LIMIT
        ),
        interpret=interpret,
        name="cross_entropy_row_statistics",
    )(count[None], hidden, head, labels[:, None])
    # Blocks that were not visited are uninitialised memory, hence a choice and not a product.
    results = jnp.where(jnp.arange(n)[:, None] < count, results, 0.0)
    return RowStatistics(results[:, 0], results[:, 1], results[:, 2])


def kernel(
    count_ref: Any,
    hidden_ref: Any,
    head_ref: Any,
    labels_ref: Any,
    results_ref: Any,
    *scratch: Any,
    blocks: Blocks,
    d: int,
    v: int,
    softcap: float | None,
) -> None:
    """One tile of the head for one block of rows, chunk of rows by chunk of rows.

    The running values are kept for each of the 128 lanes apart, so that lanes are only reduced at the end.
    """
    max_ref, exp_sum_ref, label_ref, sum_ref, *accumulator = scratch
    i, j, k = pl.program_id(0), pl.program_id(1), pl.program_id(2)
    last_tile, last_depth = pl.num_programs(1) - 1, pl.num_programs(2) - 1

    @pl.when((j == 0) & (k == 0))
    def start() -> None:
        max_ref[...] = jnp.full_like(max_ref, LOWEST)
        for ref in (exp_sum_ref, label_ref, sum_ref):
            ref[...] = jnp.zeros_like(ref)

    def visit(chunk: jax.Array, carry: None) -> None:
        rows = pl.ds(pl.multiple_of(chunk * CHUNK, CHUNK), CHUNK)
        product = multiply(hidden_ref[rows, :], head_ref[...], k * blocks.depth, d)
        if not accumulator:
            fold(product, rows)
            return
        accumulator[0][rows, :] = product + jnp.where(k == 0, 0.0, accumulator[0][rows, :])
        pl.when(k == last_depth)(lambda: fold(accumulator[0][rows, :], rows))

    def fold(logits: jax.Array, rows: Any) -> None:
        if softcap is not None:
            logits = softcap * jnp.tanh(logits * (1 / softcap))
        first = j * blocks.vocabulary
        label = labels_ref[rows, :] - first
        lane = jax.lax.broadcasted_iota(jnp.int32, (CHUNK, LANES), 1)
        parts = [logits[:, at : at + LANES] for at in range(0, blocks.vocabulary, LANES)]
        columns = [lane + at for at in range(0, blocks.vocabulary, LANES)]
        terms = parts
        if v % blocks.vocabulary:
            # Past the vocabulary the head tile holds anything; a capped logit there would count, so mask now.
            valid = [column < v - first for column in columns]
            terms = [jnp.where(ok, part, 0.0) for ok, part in zip(valid, parts, strict=True)]
            parts = [jnp.where(ok, part, -jnp.inf) for ok, part in zip(valid, parts, strict=True)]
        labelled = [jnp.where(c == label, part, 0.0) for c, part in zip(columns, terms, strict=True)]
        old = max_ref[rows, :]
        new = functools.reduce(jnp.maximum, parts, old)
        max_ref[rows, :] = new
        exp_sum = sum(jnp.exp(part - new) for part in parts)
        exp_sum_ref[rows, :] = exp_sum_ref[rows, :] * jnp.exp(old - new) + exp_sum
        label_ref[rows, :] += sum(labelled)
        sum_ref[rows, :] += sum(terms)

    def finish(chunk: jax.Array, carry: None) -> None:
        rows = pl.ds(pl.multiple_of(chunk * CHUNK, CHUNK), CHUNK)
        lane_max = max_ref[rows, :]
        top = jnp.max(lane_max, axis=1, keepdims=True)
        exp_sum = jnp.sum(exp_sum_ref[rows, :] * jnp.exp(lane_max - top), axis=1, keepdims=True)
        results_ref[rows, 0:1] = top + jnp.log(exp_sum)
        results_ref[rows, 1:2] = jnp.sum(label_ref[rows, :], axis=1, keepdims=True)
        results_ref[rows, 2:3] = jnp.sum(sum_ref[rows, :], axis=1, keepdims=True)

    chunks = pl.cdiv(jnp.clip(count_ref[0] - i * blocks.rows, 0, blocks.rows), CHUNK)
    jax.lax.fori_loop(0, chunks, visit, None)

    @pl.when((j == last_tile) & (k == last_depth))
    def end() -> None:
        jax.lax.fori_loop(0, chunks, finish, None)


def multiply(hidden: jax.Array, head: jax.Array, first: jax.Array, d: int) -> jax.Array:
    """f32 [rows, vocabulary]: the product of two tiles that begin at depth `first` of `d`."""
    depth = hidden.shape[1]
    if d % depth:
        # Past the depth both tiles hold anything, and 0 * NaN is NaN: neither may stay.
        hidden = jnp.where(jax.lax.broadcasted_iota(jnp.int32, hidden.shape, 1) < d - first, hidden, 0)
        head = jnp.where(jax.lax.broadcasted_iota(jnp.int32, head.shape, 0) < d - first, head, 0)
    # By default the matrix unit rounds f32 to bf16.
    precision = jax.lax.Precision.HIGHEST if hidden.dtype == jnp.float32 else None
    return jnp.dot(hidden, head, preferred_element_type=jnp.float32, precision=precision)
