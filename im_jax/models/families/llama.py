"""Llama 1 to 3.2, and all that took over its architecture, such as SmolLM2 and TinyLlama."""

from typing import Any, Final

from im_jax.config import ModelConfig
from im_jax.models.families import sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import all_attention_biases
from im_jax.models.families.rope import read_rope, write_rope
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored
from im_jax.models.sizes import head_dim

LAYER: Final = "model.layers.{}."

LAYOUT: Final[Layout] = {
    "embedding": Stored("model.embed_tokens.weight", "v d -> v d"),
    "layers.attention_norm.scale": Stored(LAYER + "input_layernorm.weight", "d -> d"),
    "layers.attention.query": Stored(LAYER + "self_attn.q_proj.weight", "d h k -> (h k) d"),
    "layers.attention.key": Stored(LAYER + "self_attn.k_proj.weight", "d g k -> (g k) d"),
    "layers.attention.value": Stored(LAYER + "self_attn.v_proj.weight", "d g k -> (g k) d"),
    "layers.attention.output": Stored(LAYER + "self_attn.o_proj.weight", "h k d -> d (h k)"),
    "layers.attention.query_bias": Stored(LAYER + "self_attn.q_proj.bias", "h k -> (h k)"),
    "layers.attention.key_bias": Stored(LAYER + "self_attn.k_proj.bias", "g k -> (g k)"),
    "layers.attention.value_bias": Stored(LAYER + "self_attn.v_proj.bias", "g k -> (g k)"),
    "layers.attention.output_bias": Stored(LAYER + "self_attn.o_proj.bias", "d -> d"),
    "layers.mlp_norm.scale": Stored(LAYER + "post_attention_layernorm.weight", "d -> d"),
    "layers.mlp.gate": Stored(LAYER + "mlp.gate_proj.weight", "d f -> f d"),
    "layers.mlp.up": Stored(LAYER + "mlp.up_proj.weight", "d f -> f d"),
    "layers.mlp.down": Stored(LAYER + "mlp.down_proj.weight", "f d -> d f"),
    "layers.mlp.gate_bias": Stored(LAYER + "mlp.gate_proj.bias", "f -> f"),
    "layers.mlp.up_bias": Stored(LAYER + "mlp.up_proj.bias", "f -> f"),
    "layers.mlp.down_bias": Stored(LAYER + "mlp.down_proj.bias", "d -> d"),
    "final_norm.scale": Stored("model.norm.weight", "d -> d"),
    "head": Stored("lm_head.weight", "d v -> v d"),
}

IGNORED: Final = ("*.rotary_emb.inv_freq",)
"""Buffers that old exports hold."""


def read_config(
    keys: Keys,
    *,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    max_positions: int = 2048,
    norm_eps: float = 1e-6,
    tied: bool = False,
) -> dict[str, Any]:
    """Sizes of a config.json with Llama's keys.

    Args:
        keys: config.json.
        kv_heads: key and value heads where it names none; None for as many as query heads.
        head_dim: size of a head where it names none; None for the width shared out.
        max_positions: where it names none.
        norm_eps: where it names none.
        tied: whether the head is the embedding where it says nothing.

    Raises:
        CheckpointError: a key is missing, has a value that cannot be, or asks for what the decoder lacks.
    """
    keys.only(hidden_act="silu")
    embed, heads = keys.size("hidden_size", sizes.WIDTH), keys.size("num_attention_heads", sizes.HEADS)
    groups = keys.optional_size("num_key_value_heads", sizes.HEADS, kv_heads) or heads
    if heads % groups:
        raise keys.fail("num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    size = keys.optional_size("head_dim", sizes.HEAD_SIZE, head_dim)
    if size is None and embed not in range(2 * heads, (sizes.HEAD_SIZE + 1) * heads, 2 * heads):
        raise keys.fail("hidden_size", f"an even multiple of num_attention_heads, {heads}; or set head_dim")
    if size is not None and size % 2:
        raise keys.fail("head_dim", "even, for rotary positions turn pairs")
    return {
        "vocab_size": keys.size("vocab_size", sizes.VOCABULARY),
        "num_layers": keys.size("num_hidden_layers", sizes.LAYERS),
        "embed_dim": embed,
        "num_heads": heads,
        "num_kv_heads": groups,
        "head_dim": size,
        "mlp_dim": keys.size("intermediate_size", sizes.WIDTH),
        "max_positions": keys.size("max_position_embeddings", sizes.POSITIONS, max_positions),
        "norm_eps": keys.number("rms_norm_eps", norm_eps, least=sizes.EPS[0], most=sizes.EPS[1]),
        "tie_embeddings": keys.flag("tie_word_embeddings", tied),
    }


def write_config(config: ModelConfig) -> dict[str, Any]:
    """The keys that `read_config` reads."""
    return {
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.embed_dim,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": head_dim(config),
        "intermediate_size": config.mlp_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
    }


def read_biases(keys: Keys) -> str:
    """`biases`, of `attention_bias` and `mlp_bias`."""
    attention, mlp = keys.flag("attention_bias", False), keys.flag("mlp_bias", False)
    if mlp and not attention:
        raise keys.fail("mlp_bias", "false where attention_bias is false")
    return "all" if mlp else "attention" if attention else "none"


def write_biases(config: ModelConfig) -> dict[str, Any]:
    """The keys that `read_biases` reads."""
    return {"attention_bias": config.biases != "none", "mlp_bias": config.biases == "all"}


def read_attention_bias(keys: Keys) -> dict[str, Any]:
    """`biases` of a family whose feed-forward has none."""
    return {"biases": "attention" if keys.flag("attention_bias", False) else "none"}


def write_attention_bias(config: ModelConfig) -> dict[str, Any]:
    """The key that `read_attention_bias` reads."""
    return {"attention_bias": config.biases == "attention"}


def _read(keys: Keys) -> dict[str, Any]:
    return read_config(keys) | read_rope(keys) | {"biases": read_biases(keys)}


def _write(config: ModelConfig) -> dict[str, Any]:
    return write_config(config) | {"hidden_act": "silu"} | write_rope(config) | write_biases(config)


LLAMA: Final = Family(
    architecture="LlamaForCausalLM",
    model_type="llama",
    choices={},
    layout=LAYOUT,
    prefix="model.",
    read=_read,
    write=_write,
    free=("biases",),
    misfit=all_attention_biases,
    ignored=IGNORED,
)
