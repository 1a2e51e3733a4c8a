"""Qwen 2, 2.5 and 3: Llama with biases of queries, keys and values, or with norms of heads."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import attention_biases_alone, heads_share_width
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.families.windows import num_layers, read_layers, write_layers
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

LAYOUT: Final[Layout] = {
    **llama.LAYOUT,
    "layers.attention.query_norm.scale": Stored(llama.LAYER + "self_attn.q_norm.weight", "k -> k"),
    "layers.attention.key_norm.scale": Stored(llama.LAYER + "self_attn.k_norm.weight", "k -> k"),
}


def _window(keys: Keys) -> dict[str, Any]:
    used = keys.flag("use_sliding_window", False)
    window = keys.optional_size("sliding_window", sizes.POSITIONS, 4096) if used else None
    first = keys.values.get("max_window_layers", 28)
    if type(first) is not int or first < 0:
        raise keys.fail("max_window_layers", "a whole number of at least 0")
    return read_layers(keys, window, [layer >= first for layer in range(num_layers(keys))])


def _write(config: ModelConfig) -> dict[str, Any]:
    layers = write_layers(config)
    return {
        **llama.write_config(config),
        "hidden_act": "silu",
        **write_rope(config),
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        # Where readers do not know `layer_types`: how many layers come before the first with a window.
        "max_window_layers": [*layers["layer_types"], "sliding_attention"].index("sliding_attention"),
        **layers,
    }


def _read_2(keys: Keys) -> dict[str, Any]:
    fields = llama.read_config(keys, kv_heads=32, max_positions=32768)
    return fields | read_rope(keys) | _window(keys)


def _read_3(keys: Keys) -> dict[str, Any]:
    fields = llama.read_config(keys, kv_heads=32, head_dim=128, max_positions=32768)
    return fields | read_rope(keys) | _window(keys) | llama.read_attention_bias(keys)


def _write_3(config: ModelConfig) -> dict[str, Any]:
    return _write(config) | llama.write_attention_bias(config)


QWEN2: Final = Family(
    architecture="Qwen2ForCausalLM",
    model_type="qwen2",
    choices={"biases": "qkv"},
    layout=LAYOUT,
    prefix="model.",
    read=_read_2,
    write=_write,
    free=("sliding_window", "window_pattern"),
    # Its class computes the size of a head from the width, whatever config.json says.
    misfit=heads_share_width,
    ignored=llama.IGNORED,
)
QWEN3: Final = Family(
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    choices={"head_norm": "head"},
    layout=LAYOUT,
    prefix="model.",
    read=_read_3,
    write=_write_3,
    free=("biases", "sliding_window", "window_pattern"),
    misfit=attention_biases_alone,
    ignored=llama.IGNORED,
)
