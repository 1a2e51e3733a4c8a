"""Checks of a configuration before any work: each failure is one line that says what to set."""

import difflib
import importlib.util
import math
from typing import Final

from im_jax.config import CHOICES, TEMPLATES, Config, ModelConfig, flatten
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy

# Smallest value allowed, for fields that are counts or sizes. None (unset) is always allowed.
_AT_LEAST: Final = {
    "seed": 0,
    "data.seed": 0,
    "data.num_generated": 1,
    "data.max_length": 2,
    "data.workers": 1,
    "model.vocab_size": 2,
    "model.num_layers": 1,
    "model.embed_dim": 1,
    "model.num_heads": 1,
    "model.num_kv_heads": 1,
    "model.head_dim": 2,
    "model.mlp_dim": 1,
    "model.max_positions": 2,
    "model.sliding_window": 1,
    "optimizer.warmup_steps": 0,
    "train.steps": 0,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "eval.num_examples": 0,
    "eval.every": 0,
    "eval.batch_size": 1,
    "checkpoint.every": 0,
    "checkpoint.keep": 1,
    "log.every": 1,
}
# Intervals of real-valued fields: lowest, highest, and whether the ends belong to them.
_INTERVALS: Final = {
    "data.max_lost_fraction": (0.0, 1.0, "[]"),
    "model.rope_theta": (0.0, math.inf, "()"),
    "model.norm_eps": (0.0, math.inf, "()"),
    "loss.z_loss": (0.0, math.inf, "[)"),
    "loss.label_smoothing": (0.0, 1.0, "[)"),
    "optimizer.learning_rate": (0.0, math.inf, "()"),
    "optimizer.warmup_fraction": (0.0, 1.0, "[]"),
    "optimizer.final_fraction": (0.0, 1.0, "[]"),
    "optimizer.beta1": (0.0, 1.0, "[)"),
    "optimizer.beta2": (0.0, 1.0, "[)"),
    "optimizer.eps": (0.0, math.inf, "()"),
    "optimizer.clip_norm": (0.0, math.inf, "[)"),
    "optimizer.weight_decay": (0.0, math.inf, "[)"),
    "train.epochs": (0.0, math.inf, "[)"),
}


def check(config: Config) -> None:
    """Check everything that the configuration alone decides.

    Raises:
        ConfigError: names the field, its value, and what to set instead.
    """
    flat = flatten(config)
    for name, choices in CHOICES.items():
        if flat[name] not in choices:
            raise ConfigError(
                f"{name}={flat[name]!r} is not one of {', '.join(choices)}{_hint(flat[name], choices)}"
            )
    for name, lowest in _AT_LEAST.items():
        if flat[name] is not None and flat[name] < lowest:
            raise ConfigError(f"{name}={flat[name]} must be {lowest} or more")
    for name, interval in _INTERVALS.items():
        if flat[name] is not None and not _inside(flat[name], *interval):
            low, high, ends = interval
            raise ConfigError(f"{name}={flat[name]} must be in {ends[0]}{low:g}, {high:g}{ends[1]}")
    _check_template(config.data.template)
    _check_schedule(config)
    if not config.model.path:
        check_model(config.model)
        check_length(config)
    make_policy(config.loss)
    if config.log.wandb_project and importlib.util.find_spec("wandb") is None:
        raise ConfigError("log.wandb_project is set, but wandb is not installed: pip install wandb")


def check_length(config: Config) -> None:
    """Stop if rows are longer than the model is meant for."""
    if config.data.max_length > config.model.max_positions:
        lower = "" if config.model.path else ", or raise the second"
        raise ConfigError(
            f"data.max_length={config.data.max_length} is above model.max_positions="
            f"{config.model.max_positions}; lower the first{lower}"
        )


def check_model(model: ModelConfig) -> None:
    """Check sizes that must fit each other."""
    if model.num_heads % model.num_kv_heads:
        raise ConfigError(
            f"model.num_heads={model.num_heads} must be a multiple of model.num_kv_heads={model.num_kv_heads}"
        )
    if model.head_dim is None and model.embed_dim % model.num_heads:
        raise ConfigError(
            f"model.embed_dim={model.embed_dim} must be a multiple of model.num_heads={model.num_heads}, "
            "or set model.head_dim"
        )
    if (model.head_dim or model.embed_dim // model.num_heads) % 2:
        raise ConfigError("model.head_dim must be even: rotary positions turn pairs of its components")


def check_vocabulary(vocab_size: int, tokenizer_size: int, tokenizer_path: str) -> None:
    """Stop if the tokenizer can give ids that the model has no embedding for."""
    if vocab_size < tokenizer_size:
        raise ConfigError(
            f"model.vocab_size={vocab_size} is smaller than the {tokenizer_size} entries of "
            f"tokenizer.path={tokenizer_path}; set it to {tokenizer_size} or more, or use its own tokenizer"
        )


def _check_template(template: str) -> None:
    is_path = "/" in template or template.endswith((".json", ".jinja"))
    if template not in TEMPLATES and not is_path:
        raise ConfigError(
            f"data.template={template!r} is not one of {', '.join(TEMPLATES)}, nor a path to a "
            f"tokenizer_config.json or .jinja file{_hint(template, TEMPLATES)}"
        )


def _check_schedule(config: Config) -> None:
    train, optimizer = config.train, config.optimizer
    if not train.steps and not train.epochs:
        raise ConfigError("train.steps=0 and train.epochs=0: set one of them, how long to train")
    if train.steps and train.epochs:
        raise ConfigError(
            f"train.steps={train.steps} and train.epochs={train.epochs:g} are both set; set one of them to 0"
        )
    if train.batch_size % train.accumulate:
        raise ConfigError(
            f"train.batch_size={train.batch_size} is not divisible by train.accumulate={train.accumulate}"
        )
    if train.steps and (optimizer.warmup_steps or 0) > train.steps:
        raise ConfigError(
            f"optimizer.warmup_steps={optimizer.warmup_steps} is more than train.steps={train.steps}"
        )


def _inside(value: float, low: float, high: float, ends: str) -> bool:
    if not math.isfinite(value):
        return False
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    return above and below


def _hint(value: object, choices: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value), choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""
