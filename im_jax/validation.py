"""Checks of a configuration before any work: each failure is one line that says what to set."""

import difflib
import math
from typing import Final

from im_jax.config import CHOICES, TEMPLATES, Config, flatten
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
    "train.steps": 1,
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
    "train.epochs": (0.0, math.inf, "()"),
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
    check_model(config)
    make_policy(config.loss)


def check_model(config: Config) -> None:
    """Check sizes that must fit each other; again after a checkpoint has filled them in."""
    model = config.model
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
    if not model.path and config.data.max_length > model.max_positions:
        raise ConfigError(
            f"data.max_length={config.data.max_length} is above model.max_positions={model.max_positions}; "
            "lower the first or raise the second"
        )


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
    if train.steps is None and train.epochs is None:
        raise ConfigError("set train.steps or train.epochs: how long to train")
    if train.batch_size % train.accumulate:
        raise ConfigError(
            f"train.batch_size={train.batch_size} is not divisible by train.accumulate={train.accumulate}"
        )
    if train.steps is not None and (optimizer.warmup_steps or 0) > train.steps:
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
