"""GPT-NeoX, the architecture of Pythia: attention beside the feed-forward, a quarter of each head turned."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import without_groups
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_LAYER: Final = "gpt_neox.layers.{}."
_QKV: Final = _LAYER + "attention.query_key_value."


def _heads(name: str) -> Layout:
    """Each head's queries, keys and values follow each other."""
    return {
        f"layers.attention.{name}": Stored(_QKV + "weight", "d h k -> (h * k) d"),
        f"layers.attention.{name}_bias": Stored(_QKV + "bias", "h k -> (h * k)"),
    }


_LAYOUT: Final[Layout] = {
    "embedding": Stored("gpt_neox.embed_in.weight", "v d -> v d"),
    "layers.attention_norm.scale": Stored(_LAYER + "input_layernorm.weight", "d -> d"),
    "layers.attention_norm.bias": Stored(_LAYER + "input_layernorm.bias", "d -> d"),
    **_heads("query"),
    **_heads("key"),
    **_heads("value"),
    "layers.attention.output": Stored(_LAYER + "attention.dense.weight", "h k d -> d (h k)"),
    "layers.attention.output_bias": Stored(_LAYER + "attention.dense.bias", "d -> d"),
    "layers.mlp_norm.scale": Stored(_LAYER + "post_attention_layernorm.weight", "d -> d"),
    "layers.mlp_norm.bias": Stored(_LAYER + "post_attention_layernorm.bias", "d -> d"),
    "layers.mlp.up": Stored(_LAYER + "mlp.dense_h_to_4h.weight", "d f -> f d"),
    "layers.mlp.up_bias": Stored(_LAYER + "mlp.dense_h_to_4h.bias", "f -> f"),
    "layers.mlp.down": Stored(_LAYER + "mlp.dense_4h_to_h.weight", "f d -> d f"),
    "layers.mlp.down_bias": Stored(_LAYER + "mlp.dense_4h_to_h.bias", "d -> d"),
    "final_norm.scale": Stored("gpt_neox.final_layer_norm.weight", "d -> d"),
    "final_norm.bias": Stored("gpt_neox.final_layer_norm.bias", "d -> d"),
    "head": Stored("embed_out.weight", "d v -> v d"),
}


def _read(keys: Keys) -> dict[str, Any]:
    keys.only(hidden_act="gelu", attention_bias=True)
    embed, heads = (
        keys.size("hidden_size", sizes.WIDTH, 6144),
        keys.size("num_attention_heads", sizes.HEADS, 64),
    )
    if embed not in range(2 * heads, (sizes.HEAD_SIZE + 1) * heads, heads):
        raise keys.fail("hidden_size", f"a multiple of num_attention_heads, {heads}")
    theta = keys.number("rotary_emb_base", 10000, least=1)
    share = keys.number("rotary_pct", 0.25, least=0, most=1)
    return {
        "vocab_size": keys.size("vocab_size", sizes.VOCABULARY, 50432),
        "num_layers": keys.size("num_hidden_layers", sizes.LAYERS, 44),
        "embed_dim": embed,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": None,
        "mlp_dim": keys.size("intermediate_size", sizes.WIDTH, 24576),
        "max_positions": keys.size("max_position_embeddings", sizes.POSITIONS, 2048),
        "norm_eps": keys.number("layer_norm_eps", 1e-5, least=sizes.EPS[0], most=sizes.EPS[1]),
        "tie_embeddings": keys.flag("tie_word_embeddings", False),
        "parallel": keys.flag("use_parallel_residual", True),
        **read_rope(keys, theta=theta, share=share, in_part=True),
    }


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.embed_dim,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "hidden_act": "gelu",
        "max_position_embeddings": config.max_positions,
        "layer_norm_eps": config.norm_eps,
        "use_parallel_residual": config.parallel,
        "attention_bias": True,
        "rotary_pct": config.rope_share,
        "rotary_emb_base": config.rope_theta,
        **write_rope(config),
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
    }


NEOX: Final = Family(
    architecture="GPTNeoXForCausalLM",
    model_type="gpt_neox",
    choices={"norm": "layer", "mlp": "gelu_exact", "biases": "all"},
    layout=_LAYOUT,
    prefix="gpt_neox.",
    read=_read,
    write=_write,
    free=("parallel", "rope_share"),
    misfit=without_groups,
    # The causal mask, what masked scores become, and rotary angles.
    ignored=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"),
)
