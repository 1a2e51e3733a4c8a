"""Phi-3, 3.5, 4 and 4-mini: Llama with fused matrices, and heads that may be turned in part."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_QKV: Final = llama.LAYER + "self_attn.qkv_proj.weight"
_GATE_UP: Final = llama.LAYER + "mlp.gate_up_proj.weight"
_LAYOUT: Final[Layout] = {
    **{path: stored for path, stored in llama.LAYOUT.items() if not path.endswith("_bias")},
    "layers.attention.query": Stored(_QKV, "d h k -> (h k) d", joined=0),
    "layers.attention.key": Stored(_QKV, "d g k -> (g k) d", joined=0),
    "layers.attention.value": Stored(_QKV, "d g k -> (g k) d", joined=0),
    "layers.mlp.gate": Stored(_GATE_UP, "d f -> f d", joined=0),
    "layers.mlp.up": Stored(_GATE_UP, "d f -> f d", joined=0),
}


def _read(keys: Keys) -> dict[str, Any]:
    fields = llama.read_config(keys, max_positions=4096, norm_eps=1e-5)
    window = keys.optional_size("sliding_window", sizes.POSITIONS)
    return fields | _rope(keys) | {"sliding_window": window}


def _rope(keys: Keys) -> dict[str, Any]:
    """Rotary settings: `yarn` is an old name of longrope here, and the old context 4096 if none is named."""
    values = {"original_max_position_embeddings": 4096, **keys.values}
    for key in ("rope_scaling", "rope_parameters"):
        if isinstance(rope := values.get(key), dict):
            old = {name: "longrope" for name in ("type", "rope_type") if rope.get(name) == "yarn"}
            values[key] = {**rope, **old}
    return read_rope(Keys(values, keys.where), in_part=True)


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        **llama.write_config(config),
        "hidden_act": "silu",
        **write_rope(config),
        "sliding_window": config.sliding_window,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def _misfit(config: ModelConfig) -> str | None:
    kind = config.rope_scaling.kind
    if kind not in ("none", "longrope"):
        return f"model.rope_scaling.kind is {kind!r}; it must be none or longrope"
    return None


PHI3: Final = Family(
    architecture="Phi3ForCausalLM",
    model_type="phi3",
    choices={},
    layout=_LAYOUT,
    prefix="model.",
    read=_read,
    write=_write,
    free=("sliding_window", "rope_share"),
    misfit=_misfit,
    ignored=llama.IGNORED,
)
