"""Checks of a configuration before any work: each failure is one line that says what to set."""

import dataclasses
import difflib
import importlib.util
import math
import typing
from typing import Any, Final

from im_jax.config import CHOICES, TEMPLATES, Config, ModelConfig, flatten
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy

_MOST: Final = 2**31 - 1
_LARGEST_FLOAT: Final = 3.4e38  # float32, which all of these end up as
# Smallest value allowed, for fields that are counts or sizes. None (unset) is always allowed.
_AT_LEAST: Final = {
    "seed": 0,
    "data.seed": 0,
    "data.num_generated": 1,
    "data.max_length": 2,
    "data.workers": 1,
    "data.rewrites.eval_batch_size": 1,
    "model.vocab_size": 2,
    "model.num_layers": 1,
    "model.embed_dim": 1,
    "model.num_heads": 1,
    "model.num_kv_heads": 1,
    "model.head_dim": 2,
    "model.mlp_dim": 1,
    "model.max_positions": 2,
    "model.sliding_window": 1,
    "model.rope_scaling.original_max_positions": 1,
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
# Largest value allowed, where it is not `_MOST`.
_AT_MOST: Final = {"seed": 2**32 - 1, "data.seed": 2**32 - 1, "data.workers": 1024}
# Intervals of real-valued fields: lowest, highest, and whether the ends belong to them.
_INTERVALS: Final = {
    "data.max_lost_fraction": (0.0, 1.0, "[]"),
    "model.rope_theta": (0.0, math.inf, "()"),
    "model.rope_scaling.factor": (0.0, math.inf, "()"),
    "model.rope_scaling.low_freq_factor": (0.0, math.inf, "()"),
    "model.rope_scaling.high_freq_factor": (0.0, math.inf, "()"),
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
    _check_types(config)
    flat = flatten(config)
    for name, choices in CHOICES.items():
        if flat[name] not in choices:
            raise ConfigError(
                f"{name}={flat[name]!r} is not one of {', '.join(choices)}{_hint(flat[name], choices)}"
            )
    for name, lowest in _AT_LEAST.items():
        if flat[name] is not None and flat[name] < lowest:
            raise ConfigError(f"{name}={flat[name]} must be {lowest} or more")
        if flat[name] is not None and flat[name] > (highest := _AT_MOST.get(name, _MOST)):
            raise ConfigError(f"{name}={flat[name]} must be {highest} or less")
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


def _check_types(group: Any, prefix: str = "") -> None:
    """Stop at a value of another type than its field, or at an attribute that is no field."""
    known = {field.name: field.type for field in dataclasses.fields(group)}
    for name in vars(group).keys() - known.keys():
        raise ConfigError(f"{prefix}{name} is no field{_hint(name, tuple(known))}")
    for name, kind in known.items():
        value = getattr(group, name)
        kinds = typing.get_args(kind) or (kind,)
        fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
        if isinstance(value, bool) and bool not in kinds:
            fits = False
        if not fits:
            wanted = " or ".join("unset" if k is type(None) else k.__name__ for k in kinds)
            raise ConfigError(f"{prefix}{name}={value!r} is {type(value).__name__}; it must be {wanted}")
        if dataclasses.is_dataclass(value):
            _check_types(value, f"{prefix}{name}.")


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
    scaling = model.rope_scaling
    if scaling.kind == "llama3" and scaling.low_freq_factor >= scaling.high_freq_factor:
        raise ConfigError(
            f"model.rope_scaling.low_freq_factor={scaling.low_freq_factor} must be below "
            f"model.rope_scaling.high_freq_factor={scaling.high_freq_factor}"
        )
    if model.positions == "learned" and scaling.kind != "none":
        raise ConfigError(
            f"model.rope_scaling.kind={scaling.kind!r} has no effect with model.positions='learned'; "
            "set it to none"
        )
    if model.positions == "rotary" and (model.head_dim or model.embed_dim // model.num_heads) % 2:
        raise ConfigError("model.head_dim must be even: rotary positions turn pairs of its components")


def resolve_vocabulary(config: Config, tokenizer_size: int) -> None:
    """Fill in `model.vocab_size`, and stop if the tokenizer can give ids that have no embedding."""
    model = config.model
    if model.vocab_size is None:
        model.vocab_size = tokenizer_size
    if model.vocab_size < tokenizer_size:
        advice = f"set it to {tokenizer_size} or more"
        if model.path:
            advice = f"set tokenizer.path to the tokenizer of {model.path}"
        raise ConfigError(
            f"model.vocab_size={model.vocab_size} is smaller than the {tokenizer_size} entries of "
            f"tokenizer.path={config.tokenizer.path}; {advice}"
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
    if not abs(value) <= _LARGEST_FLOAT:
        return False
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    return above and below


def _hint(value: object, choices: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value), choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""
