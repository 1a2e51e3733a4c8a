"""The configuration of a run: typed dataclasses, overridden by flags such as `--config.loss.policy=im`.

A file in `configs/` returns a `Config` from `get_config()`. `im_jax.command_line` applies the flags
and `im_jax.validation` checks the result, before any work starts. Values of `str` fields with a fixed
set of choices are checked against `CHOICES`.

Field types must be real types (no postponed annotations): `ml_collections.config_flags` reads them.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass
class FieldNames:
    """What the fields of a record are called in the data, where they are not called as here."""

    messages: str = "messages"
    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"
    prompt: str = "prompt"
    completion: str = "completion"
    system: str = "system"
    """Optional system text beside instruction or prompt."""


@dataclass
class RewritesConfig:
    """Examples of rewriting a string by a rule `x -> y`; read where `data.source` is `rewrites`.

    The input's leftmost x is replaced by y; an input without x is the answer itself, a no-op. Fields that
    hold several values are joined by commas.
    """

    num_rules: int = 1000
    """Different rules in training: the diversity of instructions."""
    num_examples: int = 100_000
    """Training examples in all, over all rules."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyz"
    left_length: int = 20
    """Letters of x."""
    right_length: int = 20
    """Letters of y; 0: rules that delete."""
    input_length: int = 50
    occurrences: str = "1"
    """How often x stands in inputs that have it: numbers, mixed in equal shares."""
    no_op_fraction: float = 0.0
    """Share of inputs without x, alike for every rule."""
    allocation: str = "uniform"
    """Examples per rule: `uniform`; `long_tail`: random weights; `long_tail_by_rank`: weights by rank."""
    alpha: float = 1.0
    """Shape of the long tail: weights have the density alpha x^(alpha - 1)."""
    families: str = "free"
    """What both sides of a rule are made of: some of `free`, `repeated`, `periodic`, `mirrored`."""
    k: str = "1"
    """How restricted the families are: a string of L letters has L / k free ones."""
    unseen: str = "rule"
    """What test rules share with no training rule: the `rule`, its `left` or `right` side, or `both`."""
    num_test_rules: int = 1000
    num_test_examples: int = 2000
    """Of unseen rules, and as many of training rules on new inputs."""
    test_occurrences: str = ""
    """As `occurrences`, in tests; empty: the same."""
    test_no_op_fraction: float | None = None
    """As `no_op_fraction`, in tests; None: the same."""
    test_families: str = ""
    """As `families`, in tests; empty: the same."""
    test_k: str = ""
    """As `k`, in tests; empty: the same."""
    prompt: str = "{left}>{right}:{input}"
    """How rule and input are written as an instruction."""
    eval_batch_size: int = 512
    """Answers that are decoded at a time."""
    programs: str = ""
    """Markov programs that the trained model is made to run: some of `random`, `sort`; empty: none."""
    num_programs: int = 500
    """Programs of each kind, each run on one input."""
    program_rules: int = 3
    """Rules of a `random` program, none of which training has."""
    program_letters: int = 3
    """Letters that a program and its input are made of, others for each program."""
    step_limit: int = 30
    """Rewrites after which the run of a program is cut off."""


@dataclass
class DataConfig:
    """Which examples are trained on, and how they become rows of tokens."""

    source: str = "generated"
    """`generated`: the embedded instruction set; `jsonl`: JSON Lines files; `tfds`: a TFDS data set;
    `rewrites`: string rewrites, made as they are read."""
    path: str = ""
    """jsonl: a file (plain or .gz), or several joined by commas. tfds: the TFDS data directory."""
    name: str = ""
    """tfds: name of the data set, with config and version if wanted."""
    split: str = "train"
    """tfds: split to read."""
    fields: FieldNames = field(default_factory=FieldNames)
    num_generated: int = 2000
    """generated: number of examples."""
    rewrites: RewritesConfig = field(default_factory=RewritesConfig)
    seed: int = 0
    """Seed of generated examples and of the choice of held-out ones: equal for runs that are compared."""
    template: str = "tulu"
    """A built-in chat template, or a path to a `tokenizer_config.json` or `.jinja` file."""
    max_length: int = 2048
    """Tokens per row; longer examples are truncated."""
    truncation: str = "right"
    """`right`: cut the end; `keep_output`: cut instruction text first; `drop`: leave the example out."""
    packing: str = "best_fit"
    """`best_fit`: several examples in a row; `none`: one example a row."""
    on_bad_example: str = "stop"
    """What a malformed record does: `stop` the run, or `skip` it and report the count."""
    drop_without_output: bool = True
    """Leave out examples that have no output token after truncation, alike under every policy."""
    max_lost_fraction: float = 0.1
    """Stop if more than this share of the examples is dropped, skipped or left without any target."""
    workers: int = 2
    """Threads that prepare batches ahead of the training step."""


@dataclass
class TokenizerConfig:
    """How text becomes tokens."""

    path: str = "bytes"
    """`bytes`, or a path: `tokenizer.json` (or its directory), SentencePiece `.model`, llama2.c `.bin`."""


@dataclass
class RopeScaling:
    """Scaling of rotary positions, with the names and meaning of the Hugging Face configuration."""

    kind: str = "none"
    """`none`, `linear` or `llama3`."""
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass
class ModelConfig:
    """A decoder: of the Llama family, or GPT-2's by `norm`, `mlp`, `positions` and `biases`.

    With `path`, the architecture is read from the checkpoint instead.
    """

    path: str = ""
    """Directory of a Hugging Face Llama or Mistral checkpoint, or a llama2.c `.bin`; empty: from scratch."""
    vocab_size: int | None = None
    """Rows of the embedding; None: the size of the tokenizer's vocabulary."""
    num_layers: int = 4
    embed_dim: int = 128
    num_heads: int = 4
    num_kv_heads: int = 4
    head_dim: int | None = None
    """Size of one head; None: `embed_dim / num_heads`."""
    mlp_dim: int = 352
    max_positions: int = 2048
    """Longest sequence the model is meant for; rows of the table of `learned` positions."""
    norm: str = "rms"
    """`rms`: RMSNorm; `layer`: LayerNorm, which has a scale and a bias."""
    mlp: str = "swiglu"
    """Feed-forward. `swiglu`: gated, three matrices; `gelu`: two matrices, GELU (tanh form) between."""
    positions: str = "rotary"
    """`rotary`: keys and queries are turned; `learned`: a table is added to the embedding."""
    biases: str = "none"
    """Which linear maps of attention and feed-forward have biases: `none` or `all`."""
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    norm_eps: float = 1e-5
    sliding_window: int | None = None
    """A token sees itself and the `sliding_window - 1` tokens before it; None: all before it."""
    tie_embeddings: bool = False
    compute_dtype: str = "bfloat16"
    """Type of activations and matrix products; softmax, norms and the loss are float32."""
    param_dtype: str = "float32"
    """Type that parameters and optimiser moments are kept in."""
    remat: str = "none"
    """What the backward pass recomputes: `none`, `full` (each layer), `dots` (all but matrix products)."""
    attention: str = "auto"
    """Kernel of attention: `full`, `blocks`, `cudnn`, `splash`; `auto`: the best for the devices."""


@dataclass
class ClassWeights:
    """Weight per token class, over the policy's own; None keeps the policy's.

    A main class (first seven) sets its sub-class too, unless that is set itself.
    """

    header: float | None = None
    system: float | None = None
    user: float | None = None
    assistant: float | None = None
    stop: float | None = None
    separator: float | None = None
    first_header: float | None = None
    last_assistant: float | None = None
    last_stop: float | None = None
    stop_separator: float | None = None


@dataclass
class LossConfig:
    """What carries loss, and how token losses are reduced to one number."""

    policy: str = "it"
    """Which token classes are trained: see `im_jax.losses.policy`."""
    weights: ClassWeights = field(default_factory=ClassWeights)
    reduction: str = "token_mean"
    """How weights are normalised over an optimiser step: see `im_jax.losses.weighting`."""
    z_loss: float = 0.0
    """Coefficient of log(partition function)^2."""
    label_smoothing: float = 0.0
    require_trained_stop: bool = True
    """Refuse a policy under which no stop token is trained: the model would never learn to stop."""


@dataclass
class OptimizerConfig:
    """AdamW. None means the preset's value."""

    preset: str = "paper"
    """`paper`: betas (0.9, 0.98), eps 1e-6, no clipping; `released`: (0.9, 0.999), 1e-8, clip at norm 1."""
    learning_rate: float = 2e-5
    """Peak learning rate."""
    schedule: str = "linear"
    """After warm-up: `linear` or `cosine` decay to `final_fraction` of the peak, or `constant`."""
    warmup_fraction: float = 0.03
    """Share of the steps spent warming up from 0, unless `warmup_steps` is given."""
    warmup_steps: int | None = None
    final_fraction: float = 0.0
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    clip_norm: float | None = None
    """Global gradient norm to clip at; 0 never clips."""
    weight_decay: float = 0.0
    decay_mask: str = "matrices"
    """What weight decay acts on: `matrices` (no norms, biases or embeddings) or `all`."""


@dataclass
class TrainConfig:
    """How long, and how much at a time."""

    steps: int = 0
    """Optimiser steps; 0: from `epochs`."""
    epochs: float = 0.0
    """Passes over the training rows, instead of `steps`."""
    batch_size: int = 128
    """Rows in one optimiser step, over all devices."""
    accumulate: int = 1
    """Micro-batches that one optimiser step is cut into; the result does not depend on it."""


@dataclass
class EvalConfig:
    """Held-out loss by token class."""

    path: str = ""
    """A file of held-out examples in the format of `data.path`; empty: hold some out of the source."""
    num_examples: int = 200
    """Examples held out of the source (or read from `path`); 0: no evaluation."""
    every: int = 0
    """Evaluate every this many steps, and at the end; 0: only at the end."""
    batch_size: int | None = None
    """Rows at a time; None: one micro-batch of training."""


@dataclass
class CheckpointConfig:
    """Checkpoints are written to WORKDIR/checkpoints, and always at the end of the run."""

    every: int = 500
    """Save every this many steps; 0: only at the end."""
    keep: int = 2
    """Number of latest checkpoints that are kept."""


@dataclass
class LogConfig:
    """Metrics go to WORKDIR/metrics.jsonl."""

    every: int = 10
    """Steps between two log lines."""
    tensorboard: bool = True
    """Also write WORKDIR/tensorboard."""
    wandb_project: str = ""
    """Weights & Biases project to log to; empty: none."""


@dataclass
class MeshConfig:
    """Devices in each direction of the mesh; -1 in `fsdp` means all that the others leave."""

    replica: int = 1
    """Data-parallel copies, between slices."""
    fsdp: int = -1
    """Data-parallel with sharded parameters."""
    tensor: int = 1
    """Heads, feed-forward and vocabulary split."""
    distributed: str = "auto"
    """Join the other processes: `auto` where a cluster is detected, `off`, or `require`."""


@dataclass
class Config:
    """Everything that decides a run."""

    seed: int = 0
    """Seed of the initial weights and of the order of the data."""
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)


POLICIES: Final = ("it", "im", "it_released", "im_released", "all", "last_turn")
REDUCTIONS: Final = ("token_mean", "example_mean", "nonzero_count", "sum")
TEMPLATES: Final = ("tulu", "chatml", "llama2", "llama3", "alpaca", "plain")

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "data.source": ("generated", "jsonl", "tfds", "rewrites"),
    "data.truncation": ("right", "keep_output", "drop"),
    "data.packing": ("best_fit", "none"),
    "data.on_bad_example": ("stop", "skip"),
    "data.rewrites.allocation": ("uniform", "long_tail", "long_tail_by_rank"),
    "data.rewrites.unseen": ("rule", "left", "right", "both"),
    "model.norm": ("rms", "layer"),
    "model.mlp": ("swiglu", "gelu"),
    "model.positions": ("rotary", "learned"),
    "model.biases": ("none", "all"),
    "model.rope_scaling.kind": ("none", "linear", "llama3"),
    "model.compute_dtype": ("float32", "bfloat16"),
    "model.param_dtype": ("float32", "bfloat16"),
    "model.remat": ("none", "full", "dots"),
    "model.attention": ("auto", "full", "blocks", "cudnn", "splash"),
    "loss.policy": POLICIES,
    "loss.reduction": REDUCTIONS,
    "optimizer.preset": ("paper", "released"),
    "optimizer.schedule": ("linear", "cosine", "constant"),
    "optimizer.decay_mask": ("matrices", "all"),
    "mesh.distributed": ("auto", "off", "require"),
}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaf fields of a configuration as `{"loss.policy": "im", ...}`, in order of declaration."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value, path = getattr(config, item.name), prefix + item.name
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = value
    return flat


def to_json(config: Any) -> str:
    """A configuration as indented JSON, field order kept."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"
