"""Splash attention, JAX's Pallas kernel for TPUs: no scores and no mask in memory, forward or backward.

The kernel works on one row, [heads, length, head size], with lengths of whole blocks; rows are padded to
a multiple of 128 here, which costs up to 127 tokens a row. Padding comes last, so no token sees it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.attention.spec import AttentionSpec, Typed

LANES = 128
"""Lengths and blocks are multiples of a TPU's vector lanes."""
LARGEST_BLOCK = 512
"""Queries and keys in a block, if the length allows: large blocks mean fewer steps of the grid."""


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    spec: AttentionSpec,
    interpret: bool = False,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention on one device; `interpret` runs the kernel anywhere, slowly, for tests."""
    length, heads = query.shape[1:3]
    padding = -length % LANES
    query = spec.scaled(query).astype(query.dtype)
    query, key, value = (jnp.swapaxes(_pad(x, padding), 1, 2) for x in (query, key, value))
    kernel = _kernel(length + padding, heads, spec, interpret)
    mixed = jax.vmap(kernel)(query, key, value, _pad(segments, padding))
    return jnp.swapaxes(mixed, 1, 2)[:, :length]


def reason_against(query: Typed, platform: str) -> str | None:
    """Why splash attention cannot attend with such queries on this platform; None if it can."""
    if platform != "tpu":
        return f"it needs TPUs, and the devices are {platform}"
    if query.dtype not in (jnp.bfloat16, jnp.float32):
        return f"it computes in bfloat16 or float32, and model.compute_dtype is {query.dtype}"
    return None


def _pad(x: jax.Array, padding: int) -> jax.Array:
    """`x` with zeros (segment 0) behind the length, dimension 1."""
    return jnp.pad(x, [(0, padding if axis == 1 else 0) for axis in range(x.ndim)])


def _kernel(
    length: int, heads: int, spec: AttentionSpec, interpret: bool
) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """The kernel of one row, `(query, key, value, segments) -> mixed`.

    Made anew in each trace, because it holds arrays of that trace.
    """
    # Imported where it is used: other platforms must not depend on an experimental module.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    shape = (length, length)
    mask = (
        masks.CausalMask(shape)
        if spec.window is None or spec.window >= length
        else masks.LocalMask(shape, (spec.window - 1, 0), offset=0)
    )
    block = max(size for size in range(LANES, LARGEST_BLOCK + 1, LANES) if length % size == 0)
    kernel = kernels.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=kernels.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_q_dq=block,
            block_kv_dq=block,
        ),
        attn_logits_soft_cap=spec.softcap,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def attend_row(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return kernel(query, key, value, kernels.SegmentIds(segments, segments))

    return attend_row
