"""OPT: GPT-2's parts with ReLU, positions two rows down their table; in the 350m, norms behind the sums."""

from typing import Any, Final

from im_jax.config import ModelConfig, RopeScaling
from im_jax.models.families import sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import without_groups
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_OFFSET: Final = 2
_EPS: Final = 1e-5
"""Of its norms; no key says it."""
_DECODER: Final = "model.decoder."
_LAYER: Final = _DECODER + "layers.{}."


def _norm(path: str, name: str) -> Layout:
    return {
        f"{path}.scale": Stored(f"{name}.weight", "d -> d"),
        f"{path}.bias": Stored(f"{name}.bias", "d -> d"),
    }


def _heads(ours: str, theirs: str) -> Layout:
    return {
        f"layers.attention.{ours}": Stored(f"{_LAYER}self_attn.{theirs}.weight", "d h k -> (h k) d"),
        f"layers.attention.{ours}_bias": Stored(f"{_LAYER}self_attn.{theirs}.bias", "h k -> (h k)"),
    }


_LAYOUT: Final[Layout] = {
    "embedding": Stored(_DECODER + "embed_tokens.weight", "v d -> v d"),
    "position_embedding": Stored(_DECODER + "embed_positions.weight", "p d -> p d"),
    "width_maps.into": Stored(_DECODER + "project_in.weight", "e d -> d e"),
    "width_maps.out": Stored(_DECODER + "project_out.weight", "d e -> e d"),
    **_norm("layers.attention_norm", _LAYER + "self_attn_layer_norm"),
    **_norm("layers.attention_norm_after", _LAYER + "self_attn_layer_norm"),
    **_heads("query", "q_proj"),
    **_heads("key", "k_proj"),
    **_heads("value", "v_proj"),
    "layers.attention.output": Stored(_LAYER + "self_attn.out_proj.weight", "h k d -> d (h k)"),
    "layers.attention.output_bias": Stored(_LAYER + "self_attn.out_proj.bias", "d -> d"),
    **_norm("layers.mlp_norm", _LAYER + "final_layer_norm"),
    **_norm("layers.mlp_norm_after", _LAYER + "final_layer_norm"),
    "layers.mlp.up": Stored(_LAYER + "fc1.weight", "d f -> f d"),
    "layers.mlp.up_bias": Stored(_LAYER + "fc1.bias", "f -> f"),
    "layers.mlp.down": Stored(_LAYER + "fc2.weight", "f d -> d f"),
    "layers.mlp.down_bias": Stored(_LAYER + "fc2.bias", "d -> d"),
    **_norm("final_norm", _DECODER + "final_layer_norm"),
    "head": Stored("lm_head.weight", "d v -> v d"),
}


def _read(keys: Keys) -> dict[str, Any]:
    keys.only(activation_function="relu", layer_norm_elementwise_affine=True, _remove_final_layer_norm=False)
    embed, heads = (
        keys.size("hidden_size", sizes.WIDTH, 768),
        keys.size("num_attention_heads", sizes.HEADS, 12),
    )
    if embed not in range(heads, (sizes.HEAD_SIZE + 1) * heads, heads):
        raise keys.fail("hidden_size", f"a multiple of num_attention_heads, {heads}")
    width = keys.optional_size("word_embed_proj_dim", sizes.WIDTH)
    before = keys.flag("do_layer_norm_before", True)
    return {
        "vocab_size": keys.size("vocab_size", sizes.VOCABULARY, 50272),
        "num_layers": keys.size("num_hidden_layers", sizes.LAYERS, 12),
        "embed_dim": embed,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": None,
        "mlp_dim": keys.size("ffn_dim", sizes.WIDTH, 3072),
        "max_positions": keys.size("max_position_embeddings", sizes.POSITIONS, 2048),
        "norm_eps": _EPS,
        "norm_places": "before" if before else "after_sum",
        "embedding_width": None if width == embed else width,
        "biases": "all" if keys.flag("enable_bias", True) else "none",
        "tie_embeddings": keys.flag("tie_word_embeddings", True),
        # Nothing is turned.
        "rope_theta": 10000.0,
        "rope_scaling": RopeScaling(),
    }


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.embed_dim,
        "word_embed_proj_dim": config.embedding_width or config.embed_dim,
        "num_attention_heads": config.num_heads,
        "ffn_dim": config.mlp_dim,
        "max_position_embeddings": config.max_positions,
        "do_layer_norm_before": config.norm_places == "before",
        "activation_function": "relu",
        "enable_bias": config.biases == "all",
        "layer_norm_elementwise_affine": True,
        # transformers drops values in training unless told not to; this decoder never does.
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "layerdrop": 0.0,
    }


def _misfit(config: ModelConfig) -> str | None:
    if config.norm_places not in ("before", "after_sum"):
        return f"model.norm_places is {config.norm_places!r}; it must be before or after_sum"
    if config.biases not in ("none", "all"):
        return f"model.biases is {config.biases!r}; it must be none or all"
    if config.norm_eps != _EPS:
        return f"model.norm_eps is {config.norm_eps:g}; it must be {_EPS:g}"
    return without_groups(config)


OPT: Final = Family(
    architecture="OPTForCausalLM",
    model_type="opt",
    choices={"norm": "layer", "mlp": "relu", "positions": "learned", "position_offset": _OFFSET},
    layout=_LAYOUT,
    prefix="model.",
    read=_read,
    write=_write,
    free=("norm_places", "embedding_width", "biases"),
    misfit=_misfit,
)
