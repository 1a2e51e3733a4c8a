"""The models of karpathy/llama2.c: Llama's architecture, with all but its sizes fixed."""

from typing import Any, Final

from im_jax.config import RopeScaling
from im_jax.models.families.family import USUAL
from im_jax.models.files.layout import Layout, Stored
from im_jax.models.files.llama2c import Header

LAYOUT: Final[Layout] = {
    "embedding": Stored("token_embedding_table", "v d -> v d"),
    "layers.attention_norm.scale": Stored("rms_att_weight.{}", "d -> d"),
    "layers.attention.query": Stored("wq.{}", "d h k -> (h k) d"),
    "layers.attention.key": Stored("wk.{}", "d g k -> (g k) d"),
    "layers.attention.value": Stored("wv.{}", "d g k -> (g k) d"),
    "layers.attention.output": Stored("wo.{}", "h k d -> d (h k)"),
    "layers.mlp_norm.scale": Stored("rms_ffn_weight.{}", "d -> d"),
    "layers.mlp.gate": Stored("w1.{}", "d f -> f d"),
    "layers.mlp.down": Stored("w2.{}", "f d -> d f"),
    "layers.mlp.up": Stored("w3.{}", "d f -> f d"),
    "final_norm.scale": Stored("rms_final_weight", "d -> d"),
    "head": Stored("wcls", "d v -> v d"),
}

IGNORED: Final = ("freq_cis_*",)
"""Rotary angles, which the decoder computes itself."""


def fields(header: Header) -> dict[str, Any]:
    """The architecture that a header describes, as fields of `ModelConfig`."""
    return {
        **USUAL,
        "family": "LlamaForCausalLM",
        "vocab_size": abs(header.vocab_size),
        "num_layers": header.n_layers,
        "embed_dim": header.dim,
        "num_heads": header.n_heads,
        "num_kv_heads": header.n_kv_heads,
        "head_dim": header.head_size,
        "mlp_dim": header.hidden_dim,
        "max_positions": header.seq_len,
        "tie_embeddings": header.vocab_size > 0,
        "rope_theta": 10000.0,
        "rope_scaling": RopeScaling(),
        "norm_eps": 1e-5,
    }
