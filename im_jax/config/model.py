"""`model`: a decoder of the Llama family, or GPT-2's by `norm`, `mlp`, `positions` and `biases`.

With `path`, the architecture is read from the checkpoint instead.
"""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import ABOVE_ZERO, Decides, When, at_least, group, setting

_DTYPES: Final = ("float32", "bfloat16")
_FROM_SCRATCH: Final = When("model.path", ("",), "the checkpoint at model.path={value} decides it")


@dataclass
class RopeScaling:
    """Scaling of rotary positions, as in the Hugging Face configuration."""

    kind: str = setting(
        "none", "How rotary frequencies are changed for longer texts.", choices=("none", "linear", "llama3")
    )
    factor: float = setting(1.0, "`linear`, `llama3`: what frequencies are divided by.", bounds=ABOVE_ZERO)
    low_freq_factor: float = setting(
        1.0,
        "`llama3`: wavelengths above `original_max_positions` / this are scaled in full.",
        bounds=ABOVE_ZERO,
    )
    high_freq_factor: float = setting(
        4.0, "`llama3`: wavelengths below `original_max_positions` / this are kept.", bounds=ABOVE_ZERO
    )
    original_max_positions: int = setting(
        8192, "`llama3`: positions before the context was extended.", bounds=at_least(1)
    )


@dataclass
class ModelConfig:
    """A decoder from scratch or a checkpoint; the types and kernels it is computed with."""

    path: str = setting(
        "",
        "Directory of a Hugging Face checkpoint, or a llama2.c `.bin`; empty: from scratch.",
        may_change=True,  # a run that is resumed has the weights in its own checkpoint
        see="models.md",
    )
    vocab_size: int | None = setting(
        None, "Rows of the embedding; none: the size of the tokenizer's vocabulary.", bounds=at_least(2)
    )
    num_layers: int = setting(4, "Layers.", bounds=at_least(1), when=_FROM_SCRATCH)
    embed_dim: int = setting(128, "Model dimension.", bounds=at_least(1), when=_FROM_SCRATCH)
    num_heads: int = setting(4, "Query heads.", bounds=at_least(1), when=_FROM_SCRATCH)
    num_kv_heads: int = setting(
        4, "Key and value heads; divides `num_heads`.", bounds=at_least(1), when=_FROM_SCRATCH
    )
    head_dim: int | None = setting(
        None, "Size of one head; none: `embed_dim / num_heads`.", bounds=at_least(2), when=_FROM_SCRATCH
    )
    mlp_dim: int = setting(352, "Feed-forward dimension.", bounds=at_least(1), when=_FROM_SCRATCH)
    max_positions: int = setting(
        2048,
        "Longest sequence the model is meant for; rows of the table of `learned` positions.",
        bounds=at_least(2),
        when=_FROM_SCRATCH,
    )
    norm: str = setting(
        "rms",
        "`rms`: RMSNorm; `layer`: LayerNorm, which has a scale and a bias.",
        choices=("rms", "layer"),
        when=_FROM_SCRATCH,
        see="models.md#gpt-2",
    )
    mlp: str = setting(
        "swiglu",
        "Feed-forward. `swiglu`: gated, three matrices; `gelu`: two matrices, GELU (tanh form) between.",
        choices=("swiglu", "gelu"),
        when=_FROM_SCRATCH,
    )
    positions: str = setting(
        "rotary",
        "`rotary`: keys and queries are turned; `learned`: a table is added to the embedding.",
        choices=("rotary", "learned"),
        when=_FROM_SCRATCH,
    )
    biases: str = setting(
        "none",
        "Which linear maps of attention and feed-forward have biases.",
        choices=("none", "all"),
        when=_FROM_SCRATCH,
    )
    rope_theta: float = setting(
        10000.0, "Base of the rotary frequencies.", bounds=ABOVE_ZERO, when=_FROM_SCRATCH
    )
    rope_scaling: RopeScaling = group(RopeScaling, when=_FROM_SCRATCH)
    norm_eps: float = setting(
        1e-5,
        "Added to the mean square in RMSNorm, to the variance in LayerNorm.",
        bounds=ABOVE_ZERO,
        when=_FROM_SCRATCH,
    )
    sliding_window: int | None = setting(
        None,
        "A token sees itself and the `sliding_window - 1` tokens before it; none: all before it.",
        bounds=at_least(1),
        when=_FROM_SCRATCH,
    )
    tie_embeddings: bool = setting(False, "Use the embedding as output head.", when=_FROM_SCRATCH)
    compute_dtype: str = setting(
        "bfloat16",
        "Type of activations and matrix products; softmax, norms and the loss are float32.",
        choices=_DTYPES,
    )
    param_dtype: str = setting(
        "float32", "Type that parameters and optimiser moments are kept in.", choices=_DTYPES
    )
    remat: str = setting(
        "none",
        "What the backward pass recomputes: `none`, `full` (each layer), `dots` (all but matrix products).",
        choices=("none", "full", "dots"),
        decides=Decides.SPEED,
    )
    attention: str = setting(
        "auto",
        "Kernel of attention: `full`, `blocks`, `cudnn`, `splash`; `auto`: the best for the devices.",
        choices=("auto", "full", "blocks", "cudnn", "splash"),
        decides=Decides.SPEED,
        see="models.md#attention",
    )
