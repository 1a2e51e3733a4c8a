"""The one entrance to attention within segments; what each implementation does stands in its file."""

import functools
import warnings
from typing import Final

import jax
import jaxtyping as jt

from im_jax.config import CHOICES
from im_jax.devices import platform
from im_jax.errors import ConfigError
from im_jax.models.attention import blocks, cudnn, full, per_device, splash
from im_jax.models.attention.spec import AttentionSpec, Typed
from im_jax.models.sharding import ShardingRules

_DEFAULT_RULES: Final = ShardingRules()


def segment_attention(
    query: jt.Float[jax.Array, "B L H K"],
    key: jt.Float[jax.Array, "B L G K"],
    value: jt.Float[jax.Array, "B L G K"],
    segments: jt.Int[jax.Array, "B L"],
    *,
    spec: AttentionSpec,
    implementation: str = "auto",
    rules: ShardingRules = _DEFAULT_RULES,
) -> jt.Float[jax.Array, "B L H K"]:
    """Softmax attention of each token to itself and the earlier tokens of its segment.

    `softmax(query @ key.T / sqrt(K)) @ value` unless `spec` says otherwise, softmax in float32; query head h
    reads key and value head `h // (H / G)` (grouped queries, arXiv:2305.13245). The states of padding
    (segment 0) attend to padding: they mean nothing but are finite.

    Args:
        query: any float type, with the positions already in it; differentiated.
        key: of the type of `query`, G a divisor of H; differentiated.
        value: like `key`.
        segments: which example of its row each token belongs to, its tokens side by side; 0 is padding.
        spec: window, scale and bound of the scores.
        implementation: `full`, `blocks`, `cudnn`, `splash`, or `auto`: splash on TPUs and cuDNN on NVIDIA
            GPUs where these can, else blocks, or with a warning full, where devices cannot have equal shares.
            The devices are those of the mesh that `jax.set_mesh` set, also if they are only described
            (compiling ahead of time), else JAX's default.
        rules: how activations are sharded over the mesh.

    Returns:
        [B, L, H, K] in the type of `query`.

    Raises:
        ConfigError: `implementation` is unknown, or cannot do this here.
    """
    if implementation not in CHOICES["model.attention"]:
        known = ", ".join(CHOICES["model.attention"])
        raise ConfigError(f"model.attention is {implementation!r}; it can be {known}")
    if implementation == "auto":
        implementation = _best(query, key, segments, spec, rules)
    elif reason := _reason_against(implementation, query, key, segments, spec, rules):
        raise ConfigError(
            f"model.attention is {implementation!r}, which cannot be used here: {reason}; set it to auto"
        )
    match implementation:
        case "cudnn":
            attend = functools.partial(cudnn.attend, spec=spec)
            return per_device.per_device(attend, query, key, value, segments, rules)
        case "splash":
            attend = functools.partial(splash.attend, spec=spec)
            return per_device.per_device(attend, query, key, value, segments, rules)
        case "blocks":
            attend = functools.partial(blocks.attend, spec=spec)
            return per_device.per_device(attend, query, key, value, segments, rules)
        case _:
            return full.attend(query, key, value, segments, spec=spec)


def in_blocks(
    query: Typed,
    key: Typed,
    segments: Typed,
    *,
    spec: AttentionSpec,
    implementation: str,
    rules: ShardingRules,
) -> bool:
    """Whether `segment_attention` would take `blocks` for such arrays."""
    if implementation == "auto":
        implementation = _best(query, key, segments, spec, rules)
    return implementation == "blocks"


def _best(query: Typed, key: Typed, segments: Typed, spec: AttentionSpec, rules: ShardingRules) -> str:
    """The fastest implementation that can attend with these arrays on the devices."""
    for name in ("splash", "cudnn", "blocks"):
        reason = _reason_against(name, query, key, segments, spec, rules)
        if reason is None:
            return name
    scores = query.shape[0] * query.shape[2] * query.shape[1] ** 2
    warnings.warn(
        f"attention keeps all {scores:,} scores of a layer (model.attention=full): {reason}; change one of "
        "these sizes, or expect much more memory",
        stacklevel=2,
    )
    return "full"


def _reason_against(
    implementation: str,
    query: Typed,
    key: Typed,
    segments: Typed,
    spec: AttentionSpec,
    rules: ShardingRules,
) -> str | None:
    """Why an implementation cannot attend with these arrays on the devices; None if it can."""
    match implementation:
        case "cudnn":
            reason = cudnn.reason_against(query, key, segments, spec, platform())
        case "splash":
            reason = splash.reason_against(query, platform())
        case "blocks":
            reason = None
        case _:
            return None
    return reason or per_device.reason_against(query, key, rules)
