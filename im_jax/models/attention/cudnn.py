"""cuDNN's flash attention, for NVIDIA GPUs: no scores in memory, but a mask of 2 bytes for each.

Where segments end is in the data, and the public interface has no sequence packing (cuDNN's offsets are
reachable through private modules of JAX only), so the segments go in as a mask, which cuDNN takes as a
bias [B, 1, L, L] in the type of the queries.
"""

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.attention.masks import segment_mask
from im_jax.models.attention.spec import AttentionSpec, Typed

_COMPUTE_CAPABILITY = 8.0
"""Ampere: the first GPUs with cuDNN's fused attention. JAX does not check this."""


def attend(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    spec: AttentionSpec,
) -> jt.Float[jax.Array, "B L H K"]:
    """Attention in bfloat16 or float16.

    `is_causal` lets cuDNN skip what lies above the diagonal. The window is in the mask: before cuDNN
    9.10.2, a window of its own cannot be combined with a bias (cudnn-frontend, checks of sdpa).
    """
    mask = segment_mask(segments, spec.window)
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, scale=spec.scale, is_causal=True, implementation="cudnn"
    )


def reason_against(
    query: Typed, key: Typed, segments: Typed, spec: AttentionSpec, platform: str
) -> str | None:
    """Why cuDNN cannot attend so with these arrays on this platform, forward and backward; None if it can.

    Shapes are JAX's to judge, by version and device: this traces the call and hands on what JAX says.
    """
    if platform not in ("gpu", "cuda"):
        return f"it needs NVIDIA GPUs, and the devices are {platform}"
    if query.dtype not in (jnp.bfloat16, jnp.float16):
        return f"it computes in bfloat16 or float16, and model.compute_dtype is {query.dtype}"
    if spec.softcap is not None:
        return f"it has no bound for scores, and the model caps them at {spec.softcap}"
    try:
        capability = min(float(gpu.compute_capability) for gpu in jax.local_devices(backend="cuda"))
    except RuntimeError as error:  # GPUs of another vendor
        return str(error)
    if capability < _COMPUTE_CAPABILITY:
        return f"it needs compute capability {_COMPUTE_CAPABILITY}, and the devices have {capability}"

    def forward_with_residuals(query: jax.Array, key: jax.Array, segments: jax.Array) -> jax.Array:
        def of_arrays(query: jax.Array, key: jax.Array) -> jax.Array:
            return attend(query, key, key, segments, spec=spec)

        return jax.vjp(of_arrays, query, key)[0]

    try:
        jax.eval_shape(forward_with_residuals, query, key, segments)
    except (NotImplementedError, RuntimeError, ValueError) as error:
        return str(error)
    return None
