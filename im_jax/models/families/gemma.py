"""Gemma 1, 2 and 3 (text): scales of 1 + w, scaled embeddings, GeGLU; from 2 on norms on both sides."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import llama, sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import attention_biases_alone
from im_jax.models.families.rope import read_rope, read_rope_by_layer, write_rope, write_rope_by_layer
from im_jax.models.families.windows import every, num_layers, read_layers, write_layers
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_SHARED: Final = {"norm": "rms_plus_one", "mlp": "geglu", "scale_embedding": True}
_ACTIVATION: Final = ("gelu_pytorch_tanh", "gelu")
"""In Gemma's files both mean the tanh form."""
_LAYOUT_2: Final[Layout] = {
    **llama.LAYOUT,
    "layers.attention_norm_after.scale": llama.LAYOUT["layers.mlp_norm.scale"],
    "layers.mlp_norm.scale": Stored(llama.LAYER + "pre_feedforward_layernorm.weight", "d -> d"),
    "layers.mlp_norm_after.scale": Stored(llama.LAYER + "post_feedforward_layernorm.weight", "d -> d"),
    "layers.attention.query_norm.scale": Stored(llama.LAYER + "self_attn.q_norm.weight", "k -> k"),
    "layers.attention.key_norm.scale": Stored(llama.LAYER + "self_attn.k_norm.weight", "k -> k"),
}


def _read(keys: Keys, kv_heads: int, max_positions: int) -> dict[str, Any]:
    # Their own key; Llama's says the same in files of the first Gemma.
    keys.only(hidden_activation=(*_ACTIVATION, None), use_bidirectional_attention=(False, None))
    hidden = Keys({**keys.values, "hidden_act": _hidden_act(keys)}, keys.where)
    size = keys.size("head_dim", sizes.HEAD_SIZE, 256)
    fields = llama.read_config(
        hidden, kv_heads=kv_heads, head_dim=size, max_positions=max_positions, tied=True
    )
    return fields | llama.read_attention_bias(keys)


def _hidden_act(keys: Keys) -> str:
    keys.only(hidden_act=(*_ACTIVATION, None))
    return "silu"  # what Llama's keys may say; here `mlp` says it


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        **llama.write_config(config),
        "hidden_act": _ACTIVATION[0],
        "hidden_activation": _ACTIVATION[0],
        **llama.write_attention_bias(config),
    }


def _read_1(keys: Keys) -> dict[str, Any]:
    return _read(keys, 16, 8192) | read_rope(keys)


def _write_1(config: ModelConfig) -> dict[str, Any]:
    return _write(config) | write_rope(config)


def _scores(keys: Keys, score_cap: float | None, logit_cap: float | None) -> dict[str, Any]:
    def cap(key: str, default: float | None) -> float | None:
        value = keys.values.get(key, default)
        return None if value is None else keys.number(key, default, least=1e-3)

    return {
        "attention_scale": keys.number("query_pre_attn_scalar", 256, least=1e-6) ** -0.5,
        "score_cap": cap("attn_logit_softcapping", score_cap),
        "logit_cap": cap("final_logit_softcapping", logit_cap),
    }


def _write_scores(config: ModelConfig) -> dict[str, Any]:
    assert config.attention_scale is not None
    squared = config.attention_scale**-2
    whole = round(squared)
    return {
        "query_pre_attn_scalar": whole if abs(whole - squared) < 1e-6 * squared else squared,
        "attn_logit_softcapping": config.score_cap,
        "final_logit_softcapping": config.logit_cap,
        "sliding_window": config.sliding_window,
        **write_layers(config),
    }


def _read_2(keys: Keys) -> dict[str, Any]:
    window = keys.optional_size("sliding_window", sizes.POSITIONS, 4096)
    layers = read_layers(keys, window, every(2, num_layers(keys)))
    return _read(keys, 4, 8192) | read_rope(keys) | _scores(keys, 50.0, 30.0) | layers


def _write_2(config: ModelConfig) -> dict[str, Any]:
    return _write(config) | write_rope(config) | _write_scores(config)


def _read_3(keys: Keys) -> dict[str, Any]:
    window = keys.optional_size("sliding_window", sizes.POSITIONS, 4096)
    full = keys.size("sliding_window_pattern", sizes.LAYERS, 6)
    layers = read_layers(keys, window, every(full, num_layers(keys)))
    rope = read_rope_by_layer(keys, 1_000_000.0, 10_000.0)
    return _read(keys, 4, 131072) | rope | _scores(keys, None, None) | layers


def _write_3(config: ModelConfig) -> dict[str, Any]:
    return _write(config) | write_rope_by_layer(config) | _write_scores(config)


def _misfit_2(config: ModelConfig) -> str | None:
    return attention_biases_alone(config) or _without_scale(config)


def _without_scale(config: ModelConfig) -> str | None:
    return "model.attention_scale is none; it must be a number" if config.attention_scale is None else None


_FREE: Final = ("biases", "sliding_window", "window_pattern", "attention_scale", "score_cap", "logit_cap")

GEMMA: Final = Family(
    architecture="GemmaForCausalLM",
    model_type="gemma",
    choices=_SHARED,
    layout=llama.LAYOUT,
    prefix="model.",
    read=_read_1,
    write=_write_1,
    free=("biases",),
    misfit=attention_biases_alone,
    ignored=llama.IGNORED,
)
GEMMA2: Final = Family(
    architecture="Gemma2ForCausalLM",
    model_type="gemma2",
    choices=_SHARED | {"norm_places": "both"},
    layout=_LAYOUT_2,
    prefix="model.",
    read=_read_2,
    write=_write_2,
    free=_FREE,
    misfit=_misfit_2,
    ignored=llama.IGNORED,
)
GEMMA3: Final = Family(
    architecture="Gemma3ForCausalLM",
    model_type="gemma3_text",
    choices=_SHARED | {"norm_places": "both", "head_norm": "head"},
    layout=_LAYOUT_2,
    prefix="model.",
    read=_read_3,
    write=_write_3,
    free=(*_FREE, "window_rope_theta"),
    misfit=_misfit_2,
    ignored=llama.IGNORED,
)
