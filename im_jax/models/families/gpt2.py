"""GPT-2: LayerNorm, learned positions, GELU and biases; its matrices stand `[in, out]` in the files."""

from typing import Any, Final

from im_jax.config import ModelConfig, RopeScaling
from im_jax.models.families import sizes
from im_jax.models.families.family import Family
from im_jax.models.families.misfits import without_groups
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout, Stored

_LAYER: Final = "transformer.h.{}."
_ATTENTION: Final = _LAYER + "attn.c_attn."

_LAYOUT: Final[Layout] = {
    "embedding": Stored("transformer.wte.weight", "v d -> v d"),
    "position_embedding": Stored("transformer.wpe.weight", "p d -> p d"),
    "layers.attention_norm.scale": Stored(_LAYER + "ln_1.weight", "d -> d"),
    "layers.attention_norm.bias": Stored(_LAYER + "ln_1.bias", "d -> d"),
    "layers.attention.query": Stored(_ATTENTION + "weight", "d h k -> d (h k)", joined=1),
    "layers.attention.key": Stored(_ATTENTION + "weight", "d h k -> d (h k)", joined=1),
    "layers.attention.value": Stored(_ATTENTION + "weight", "d h k -> d (h k)", joined=1),
    "layers.attention.query_bias": Stored(_ATTENTION + "bias", "h k -> (h k)", joined=0),
    "layers.attention.key_bias": Stored(_ATTENTION + "bias", "h k -> (h k)", joined=0),
    "layers.attention.value_bias": Stored(_ATTENTION + "bias", "h k -> (h k)", joined=0),
    "layers.attention.output": Stored(_LAYER + "attn.c_proj.weight", "h k d -> (h k) d"),
    "layers.attention.output_bias": Stored(_LAYER + "attn.c_proj.bias", "d -> d"),
    "layers.mlp_norm.scale": Stored(_LAYER + "ln_2.weight", "d -> d"),
    "layers.mlp_norm.bias": Stored(_LAYER + "ln_2.bias", "d -> d"),
    "layers.mlp.up": Stored(_LAYER + "mlp.c_fc.weight", "d f -> d f"),
    "layers.mlp.up_bias": Stored(_LAYER + "mlp.c_fc.bias", "f -> f"),
    "layers.mlp.down": Stored(_LAYER + "mlp.c_proj.weight", "f d -> f d"),
    "layers.mlp.down_bias": Stored(_LAYER + "mlp.c_proj.bias", "d -> d"),
    "final_norm.scale": Stored("transformer.ln_f.weight", "d -> d"),
    "final_norm.bias": Stored("transformer.ln_f.bias", "d -> d"),
    "head": Stored("lm_head.weight", "d v -> v d"),
}


def _read(keys: Keys) -> dict[str, Any]:
    keys.only(
        activation_function=("gelu_new", "gelu_pytorch_tanh"),
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    embed, heads = keys.size("n_embd", sizes.WIDTH, 768), keys.size("n_head", sizes.HEADS, 12)
    if embed not in range(heads, (sizes.HEAD_SIZE + 1) * heads, heads):
        raise keys.fail("n_embd", f"a multiple of n_head, {heads}, and at most {sizes.HEAD_SIZE} times it")
    return {
        "vocab_size": keys.size("vocab_size", sizes.VOCABULARY, 50257),
        "num_layers": keys.size("n_layer", sizes.LAYERS, 12),
        "embed_dim": embed,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": None,
        "mlp_dim": keys.optional_size("n_inner", 4 * sizes.WIDTH) or 4 * embed,
        "max_positions": keys.size("n_positions", sizes.POSITIONS, 1024),
        "norm_eps": keys.number("layer_norm_epsilon", 1e-5, least=sizes.EPS[0], most=sizes.EPS[1]),
        "tie_embeddings": keys.flag("tie_word_embeddings", True),
        # Nothing is turned.
        "rope_theta": 10000.0,
        "rope_scaling": RopeScaling(),
    }


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_layer": config.num_layers,
        "n_embd": config.embed_dim,
        "n_head": config.num_heads,
        "n_inner": config.mlp_dim,
        "n_positions": config.max_positions,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        # transformers drops values in training unless told not to; this decoder never does.
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


GPT2: Final = Family(
    architecture="GPT2LMHeadModel",
    model_type="gpt2",
    choices={
        "norm": "layer",
        "mlp": "gelu",
        "positions": "learned",
        "biases": "all",
    },
    layout=_LAYOUT,
    prefix="transformer.",
    read=_read,
    write=_write,
    misfit=without_groups,
    # The causal mask, and what masked scores become.
    ignored=("*.attn.bias", "*.attn.masked_bias"),
)
