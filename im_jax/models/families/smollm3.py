"""SmolLM3: Llama in which every fourth layer does not turn its heads."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import all_attention_biases
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.families.windows import num_layers, read_layers, shortest, write_layers
from im_jax.models.files.json_keys import Keys
from im_jax.models.kinds import repeated


def _read(keys: Keys) -> dict[str, Any]:
    turned = _turned(keys)
    used = keys.flag("use_sliding_window", False)
    window = keys.optional_size("sliding_window", sizes.POSITIONS) if used else None
    return {
        **llama.read_config(keys, kv_heads=4, max_positions=32768, tied=True),
        **read_rope(keys, theta=2_000_000.0),
        **read_layers(keys, window, [not flag for flag in turned]),
        "rope_pattern": shortest("".join("01"[flag] for flag in turned)),
        "biases": llama.read_biases(keys),
    }


def _turned(keys: Keys) -> list[bool]:
    """Which layers turn their heads: `no_rope_layers` has 1 for those that do."""
    layers = num_layers(keys)
    flags = keys.values.get("no_rope_layers")
    if flags is None:
        interval = keys.size("no_rope_layer_interval", sizes.LAYERS, 4)
        return [bool((layer + 1) % interval) for layer in range(layers)]
    if not isinstance(flags, list) or len(flags) < layers or not all(flag in (0, 1) for flag in flags):
        raise keys.fail("no_rope_layers", f"a list of 1 and 0, for at least {layers} layers")
    return [bool(flag) for flag in flags[:layers]]


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        **llama.write_config(config),
        "hidden_act": "silu",
        **write_rope(config),
        **llama.write_biases(config),
        "no_rope_layers": [int(flag) for flag in repeated("rope_pattern", config)],
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        **write_layers(config),
    }


SMOLLM3: Final = Family(
    architecture="SmolLM3ForCausalLM",
    model_type="smollm3",
    choices={},
    layout=llama.LAYOUT,
    prefix="model.",
    read=_read,
    write=_write,
    free=("biases", "rope_pattern", "sliding_window", "window_pattern"),
    misfit=all_attention_biases,
    ignored=llama.IGNORED,
)
