"""AdamW, its presets and schedules."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import jax
import optax

from im_jax.config import OptimizerConfig
from im_jax.errors import ConfigError


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
    """The configuration with the preset's constants where it has none of its own."""
    preset = dataclasses.asdict(PRESETS[config.preset])
    own = {name: getattr(config, name) for name in preset}
    return dataclasses.replace(config, **(preset | {k: v for k, v in own.items() if v is not None}))


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Clipping by global norm (if any), then AdamW with decoupled weight decay."""
    config = resolve_constants(config)
    adamw = optax.adamw(
        schedule,
        b1=config.beta1,
        b2=config.beta2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=is_matrix if config.decay_mask == "matrices" else None,
    )
    if not config.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def carry_over(
    params: optax.Params, old: optax.OptState, optimizer: optax.GradientTransformation, shardings: Any
) -> optax.OptState:
    """The moments and the count of one AdamW as the state of another, which may clip where that did not."""

    def carried(params: optax.Params, old: optax.OptState) -> optax.OptState:
        moments = {name: optax.tree_utils.tree_get(old, name) for name in ("mu", "nu")}
        count = optax.tree_utils.tree_get_all_with_path(old, "count")[0][1]  # all that there are, are equal
        return optax.tree_utils.tree_set(optimizer.init(params), count=count, **moments)

    return jax.jit(carried, out_shardings=shardings)(params, old)


def is_matrix(params: optax.Params) -> optax.Params:
    """True for the weights of linear maps; False for norms, biases, and tables that are looked up."""

    def decayed(path: tuple[jax.tree_util.KeyEntry, ...], _: jax.Array) -> bool:
        names = jax.tree_util.keystr(path)
        return not any(part in names for part in ("norm", "bias", "embed"))

    return jax.tree_util.tree_map_with_path(decayed, params)
