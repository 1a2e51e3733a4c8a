"""Optimisers by name, the constants of presets, and schedules."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import jax
import optax
import optax.contrib

from im_jax.config import OptimizerConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters import lora
from im_jax.training.matrices import (
    Path,
    clip_each_by_rms,
    dimension_numbers,
    is_map,
    muon_dimension_numbers,
    on_matrices,
    scale_by_largest_side,
)
from im_jax.training.schedule_free import ScheduleFreeState, schedule_free


@dataclass(frozen=True)
class Preset:
    """Optimiser constants; the paper and its released code disagree (appendix against launcher)."""

    beta1: float
    beta2: float
    eps: float
    clip_norm: float


PRESETS: Final = {
    "paper": Preset(beta1=0.9, beta2=0.98, eps=1e-6, clip_norm=0.0),
    "released": Preset(beta1=0.9, beta2=0.999, eps=1e-8, clip_norm=1.0),
}

_OTHER_CONSTANTS: Final[dict[str, dict[str, float | None]]] = {
    "adafactor": {"beta1": None, "beta2": None, "eps": None},
    "lion": {"beta1": 0.9, "beta2": 0.99, "eps": None},  # arXiv:2302.06675
}
"""Of optimisers to which a preset of AdamW says nothing but where to clip."""

_RMS_OF_ADAM: Final = 0.2
"""Root mean square of Adam's steps of rate 1, to which Muon's are scaled (arXiv:2502.16982)."""


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step (counted from 0): linear warm-up from 0, then constant, linear or cosine.

    The same values as the schedules of Hugging Face transformers, which the released code used: the
    first step of a warm-up has rate 0, and `warmup_fraction` is rounded up to whole steps.
    """
    warmup = config.warmup_steps
    if warmup is None:
        warmup = math.ceil(config.warmup_fraction * steps)
    if not 0 <= warmup <= steps:
        raise ConfigError(f"optimizer.warmup_steps={warmup} must be between 0 and the {steps} training steps")
    peak, final = config.learning_rate, config.learning_rate * config.final_fraction
    decay_steps = max(steps - warmup, 1)
    match config.schedule:
        case "constant":
            main = optax.constant_schedule(peak)
        case "linear":
            main = optax.linear_schedule(peak, final, decay_steps)
        case "cosine":
            main = optax.cosine_decay_schedule(peak, decay_steps, alpha=config.final_fraction)
        case _:
            raise ConfigError(f"optimizer.schedule={config.schedule!r} is not linear, cosine or constant")
    if warmup == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def resolve_constants(config: OptimizerConfig) -> OptimizerConfig:
    """The configuration with the preset's constants, or the optimiser's, where it has none of its own."""
    constants = dataclasses.asdict(PRESETS[config.preset]) | _OTHER_CONSTANTS.get(config.name, {})
    own = {name: getattr(config, name) for name in constants}
    return dataclasses.replace(config, **(constants | {k: v for k, v in own.items() if v is not None}))


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Clipping by global norm (if any), then the optimiser of that name with decoupled weight decay."""
    config = resolve_constants(config)
    made = optax.chain(
        _scaling(config),
        optax.add_decayed_weights(
            config.weight_decay, is_matrix if config.decay_mask == "matrices" else None
        ),
        optax.scale_by_learning_rate(schedule),
        *([_scale_b(config.lora_b_ratio)] if config.lora_b_ratio != 1 else []),
    )
    if config.clip_norm:
        made = optax.chain(optax.clip_by_global_norm(config.clip_norm), made)
    if config.name == "schedule_free_adamw":
        assert config.beta1 is not None
        return schedule_free(made, schedule, config.beta1)
    return made


def _scale_b(ratio: float) -> optax.GradientTransformation:
    """Steps of B in adapters, `ratio` times as long (LoRA+, arXiv:2402.12354)."""

    def scale(path: Path, x: jax.Array) -> jax.Array:
        return x * ratio if jax.tree_util.keystr(path, simple=True, separator=".").endswith(lora.B) else x

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))


def _scaling(config: OptimizerConfig) -> optax.GradientTransformation:
    """What turns a gradient into a step of rate 1."""
    beta1, beta2, eps, mu_dtype = config.beta1, config.beta2, config.eps, config.mu_dtype
    match config.name:
        case "adamw":
            return optax.scale_by_adam(beta1, beta2, eps, mu_dtype=mu_dtype)
        case "adafactor":
            return on_matrices(optax.chain(optax.scale_by_factored_rms(), clip_each_by_rms(1.0)))
        case "lion":
            return optax.scale_by_lion(beta1, beta2, mu_dtype=mu_dtype)
        case "muon":
            muon = optax.contrib.scale_by_muon(
                beta=config.muon_beta, mu_dtype=mu_dtype, weight_dimension_numbers=muon_dimension_numbers
            )
            adam = optax.scale_by_adam(beta1, beta2, eps, mu_dtype=mu_dtype)
            return optax.partition(
                {"muon": optax.chain(muon, scale_by_largest_side(_RMS_OF_ADAM)), "adam": adam}, _muon_or_adam
            )
        case "schedule_free_adamw":
            return optax.scale_by_rms(beta2, eps, eps_in_sqrt=False, bias_correction=True)
        case _:
            raise ConfigError(f"optimizer.name={config.name!r} is none of those that there are")


def carry_over(
    params: optax.Params, old: optax.OptState, optimizer: optax.GradientTransformation, shardings: Any
) -> optax.OptState:
    """The state of one optimiser as that of another of its name, which may have other constants.

    Clipping and weight decay have no arrays, so both have the same arrays in the same order.
    """

    def carried(params: optax.Params, old: optax.OptState) -> optax.OptState:
        fresh = optimizer.init(params)
        leaves = [
            leaf.astype(like.dtype)
            for leaf, like in zip(jax.tree.leaves(old), jax.tree.leaves(fresh), strict=True)
        ]
        state = jax.tree.unflatten(jax.tree.structure(fresh), leaves)
        return state._replace(beta1=fresh.beta1) if isinstance(fresh, ScheduleFreeState) else state

    return jax.jit(carried, out_shardings=shardings)(params, old)


def is_matrix(params: optax.Params) -> optax.Params:
    """True for the weights of linear maps; False for norms, biases, and tables that are looked up."""
    return jax.tree_util.tree_map_with_path(lambda path, _: is_map(path), params)


def _muon_or_adam(params: optax.Params) -> optax.Params:
    """Muon for the matrices of layers, AdamW for the embedding, the head, norms and biases."""

    def label(path: Path, x: jax.Array) -> str:
        return "adam" if dimension_numbers(path, x.ndim) is None else "muon"

    return jax.tree_util.tree_map_with_path(label, params)
