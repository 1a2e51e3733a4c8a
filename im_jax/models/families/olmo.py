"""OLMo 2 and 3: norms behind attention and feed-forward, and of all heads together; in 3 also windows."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import attention_biases_alone
from im_jax.models.families.rope import read_rope, read_rope_by_layer, write_rope, write_rope_by_layer
from im_jax.models.families.windows import every, num_layers, read_layers, write_layers
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_CHOICES: Final = {"norm_places": "after", "head_norm": "heads"}
_LAYOUT: Final[Layout] = {
    **llama.LAYOUT,
    "layers.attention_norm_after.scale": llama.LAYOUT["layers.mlp_norm.scale"],
    "layers.mlp_norm_after.scale": Stored(llama.LAYER + "post_feedforward_layernorm.weight", "d -> d"),
    "layers.attention.query_norm.scale": Stored(llama.LAYER + "self_attn.q_norm.weight", "h k -> (h k)"),
    "layers.attention.key_norm.scale": Stored(llama.LAYER + "self_attn.k_norm.weight", "g k -> (g k)"),
}


def _read(keys: Keys) -> dict[str, Any]:
    fields = llama.read_config(keys, max_positions=2048, norm_eps=1e-5)
    return fields | llama.read_attention_bias(keys)


def _write(config: ModelConfig) -> dict[str, Any]:
    return llama.write_config(config) | {"hidden_act": "silu"} | llama.write_attention_bias(config)


def _read_2(keys: Keys) -> dict[str, Any]:
    return _read(keys) | read_rope(keys)


def _write_2(config: ModelConfig) -> dict[str, Any]:
    return _write(config) | write_rope(config)


def _read_3(keys: Keys) -> dict[str, Any]:
    window = keys.optional_size("sliding_window", sizes.POSITIONS, 4096)
    layers = read_layers(keys, window, every(4, num_layers(keys)))
    return _read(keys) | read_rope_by_layer(keys, 500_000.0, None) | layers


def _write_3(config: ModelConfig) -> dict[str, Any]:
    windows = {"sliding_window": config.sliding_window, **write_layers(config)}
    return _write(config) | write_rope_by_layer(config) | windows


OLMO2: Final = Family(
    architecture="Olmo2ForCausalLM",
    model_type="olmo2",
    choices=_CHOICES,
    layout=_LAYOUT,
    prefix="model.",
    read=_read_2,
    write=_write_2,
    free=("biases",),
    misfit=attention_biases_alone,
    ignored=llama.IGNORED,
)
OLMO3: Final = Family(
    architecture="Olmo3ForCausalLM",
    model_type="olmo3",
    choices=_CHOICES,
    layout=_LAYOUT,
    prefix="model.",
    read=_read_3,
    write=_write_3,
    free=("biases", "sliding_window", "window_pattern", "window_rope_theta"),
    misfit=attention_biases_alone,
    ignored=llama.IGNORED,
)
