"""Mistral 7B: Llama with a sliding window in all layers, which later versions turn off again."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.files.json_keys import Keys


def _read(keys: Keys) -> dict[str, Any]:
    fields = llama.read_config(keys, kv_heads=8, max_positions=131072) | read_rope(keys)
    return fields | {"sliding_window": keys.optional_size("sliding_window", sizes.POSITIONS, 4096)}


def _write(config: ModelConfig) -> dict[str, Any]:
    shared = llama.write_config(config) | {"hidden_act": "silu"} | write_rope(config)
    return shared | {"sliding_window": config.sliding_window}


MISTRAL: Final = Family(
    architecture="MistralForCausalLM",
    model_type="mistral",
    choices={},
    layout=llama.LAYOUT,
    prefix="model.",
    read=_read,
    write=_write,
    free=("sliding_window",),
    ignored=llama.IGNORED,
)
