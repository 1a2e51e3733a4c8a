"""`model`: a decoder, Llama's unless fields say otherwise, and how it is computed.

With `path`, the architecture is read from the checkpoint instead.
"""

from dataclasses import dataclass
from typing import Final

from im_jax.config.lora import LoraConfig
from im_jax.config.record import ABOVE_ZERO, Bounds, Decides, When, at_least, group, setting

_DTYPES: Final = ("float32", "bfloat16")
GROW: Final = "grow"
"""A `vocab_size` that becomes a number when the tokenizer and the mesh are known."""
_FROM_SCRATCH: Final = When("model.path", ("",), "the checkpoint at model.path={value} decides it")


@dataclass
class RopeScaling:
    """Scaling of rotary positions, as Hugging Face has it."""

    kind: str = setting(
        "none",
        "How rotary frequencies are changed for longer texts.",
        choices=("none", "linear", "llama3", "yarn", "longrope"),
    )
    factor: float = setting(
        1.0, "`linear`, `llama3`, `yarn`: what frequencies are divided by.", bounds=ABOVE_ZERO
    )
    low_freq_factor: float = setting(
        1.0,
        "`llama3`: wavelengths above `original_max_positions` / this are scaled in full.",
        bounds=ABOVE_ZERO,
    )
    high_freq_factor: float = setting(
        4.0, "`llama3`: wavelengths below `original_max_positions` / this are kept.", bounds=ABOVE_ZERO
    )
    original_max_positions: int = setting(
        8192, "`llama3`, `yarn`, `longrope`: positions before the context was extended.", bounds=at_least(1)
    )
    beta_fast: float = setting(
        32.0, "`yarn`: pairs that turn more often than this over the old context are kept.", bounds=ABOVE_ZERO
    )
    beta_slow: float = setting(
        1.0, "`yarn`: pairs that turn less often than this are scaled in full.", bounds=ABOVE_ZERO
    )
    whole_pairs: bool = setting(True, "`yarn`: round both ends of what is blended to whole pairs.")
    attention_factor: float = setting(
        1.0, "`yarn`, `longrope`: what cosines and sines are multiplied by.", bounds=ABOVE_ZERO
    )
    short_factors: str = setting(
        "", "`longrope`: what the frequency of each pair is divided by, joined by commas."
    )
    long_factors: str = setting("", "`longrope`: the same where rows are longer than the old context.")
    use_long: bool = setting(False, "`longrope`: whether the long factors count.")


@dataclass
class ModelConfig:
    """A decoder from scratch or a checkpoint; its types."""

    path: str = setting(
        "",
        "Directory of a Hugging Face checkpoint, or a llama2.c `.bin`; empty: from scratch.",
        may_change=True,  # a run that is resumed has the weights in its own checkpoint
        see="models.md",
    )
    family: str = setting(
        "",
        "Architecture of transformers as which the model is written; empty: the first with all its parts.",
        may_change=True,
        when=_FROM_SCRATCH,
        see="models.md#families",
    )
    vocab_size: int | str | None = setting(
        None,
        "Rows of the embedding; none: those of the checkpoint, or the size of the tokenizer's vocabulary. "
        "`grow`: what the tokenizer needs, if that is more, rounded up to what the mesh divides.",
        choices=(GROW,),
        bounds=at_least(2),
        see="models.md#more-tokens",
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
        "`rms`: RMSNorm; `rms_plus_one`: its scale is 1 + the parameter; `layer`: LayerNorm, with a bias.",
        choices=("rms", "rms_plus_one", "layer"),
        when=_FROM_SCRATCH,
        see="models.md#families",
    )
    norm_places: str = setting(
        "before",
        "Norms of attention and feed-forward: `before` each; `after` it; `both`; `after_sum`: after it is "
        "added to the residual stream.",
        choices=("before", "after", "both", "after_sum"),
        when=_FROM_SCRATCH,
    )
    head_norm: str = setting(
        "none",
        "RMSNorm of queries and keys: `none`, of each head (`head`), or of all heads together (`heads`).",
        choices=("none", "head", "heads"),
        when=_FROM_SCRATCH,
    )
    mlp: str = setting(
        "swiglu",
        "Feed-forward. `swiglu`, `geglu`: gated, three matrices; `gelu` (tanh form), `gelu_exact`, `relu`: "
        "two, with that between.",
        choices=("swiglu", "geglu", "gelu", "gelu_exact", "relu"),
        when=_FROM_SCRATCH,
    )
    parallel: bool = setting(
        False, "Attention and feed-forward read the same input and are added at once.", when=_FROM_SCRATCH
    )
    positions: str = setting(
        "rotary",
        "`rotary`: keys and queries are turned; `learned`: a table is added to the embedding.",
        choices=("rotary", "learned"),
        when=_FROM_SCRATCH,
    )
    position_offset: int = setting(
        0,
        "Rows of the table of `learned` positions before that of the first.",
        bounds=at_least(0, 1024),
        when=_FROM_SCRATCH,
    )
    biases: str = setting(
        "none",
        "Which linear maps have biases: `none`, `qkv` (queries, keys, values), `attention`, or `all`.",
        choices=("none", "qkv", "attention", "all"),
        when=_FROM_SCRATCH,
    )
    rope_theta: float = setting(
        10000.0, "Base of the rotary frequencies.", bounds=ABOVE_ZERO, when=_FROM_SCRATCH
    )
    rope_scaling: RopeScaling = group(RopeScaling, when=_FROM_SCRATCH)
    rope_share: float = setting(
        1.0,
        "Share of a head's dimensions, the first ones, that are turned.",
        bounds=Bounds(0.0, 1.0, "(]"),
        when=_FROM_SCRATCH,
    )
    rope_pattern: str = setting(
        "1",
        "Layers that turn: `1` or `0` for each, from the first on, repeated.",
        when=_FROM_SCRATCH,
    )
    window_rope_theta: float | None = setting(
        None,
        "Base of the frequencies, unscaled, in layers with a window; none: those of the others.",
        bounds=ABOVE_ZERO,
        when=_FROM_SCRATCH,
    )
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
    window_pattern: str = setting(
        "1",
        "Layers in which `sliding_window` holds: `1` or `0` for each, from the first on, repeated.",
        when=_FROM_SCRATCH,
    )
    attention_scale: float | None = setting(
        None, "Factor of the scores; none: 1 / sqrt(size of a head).", bounds=ABOVE_ZERO, when=_FROM_SCRATCH
    )
    score_cap: float | None = setting(
        None, "Bound of the scores, by tanh; none: no bound.", bounds=ABOVE_ZERO, when=_FROM_SCRATCH
    )
    logit_cap: float | None = setting(
        None, "Bound of the logits, by tanh; none: no bound.", bounds=ABOVE_ZERO, when=_FROM_SCRATCH
    )
    tie_embeddings: bool = setting(False, "Use the embedding as output head.", when=_FROM_SCRATCH)
    scale_embedding: bool = setting(
        False, "Multiply embeddings by sqrt(`embed_dim`), rounded to their type.", when=_FROM_SCRATCH
    )
    embedding_width: int | None = setting(
        None,
        "Columns of the embedding and the head, mapped to `embed_dim` and back; none: `embed_dim`.",
        bounds=at_least(1),
        when=_FROM_SCRATCH,
    )
    compute_dtype: str = setting(
        "bfloat16",
        "Type of activations and matrix products; softmax, norms and the loss are float32.",
        choices=_DTYPES,
    )
    param_dtype: str = setting(
        "float32", "Type that parameters and optimiser moments are kept in.", choices=_DTYPES
    )
    base_dtype: str = setting(
        "param_dtype",
        "Maps of the layers under an adapter: `param_dtype`, or `nf4`, in 4 bits (QLoRA).",
        choices=("param_dtype", "nf4"),
        see="adapters.md#4-bit-weights",
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
    lora: LoraConfig = group(LoraConfig)
