"""`optimizer`: which one, its constants, and its learning rate."""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import ABOVE_ZERO, BELOW_ONE, NOT_NEGATIVE, SHARE, When, at_least, setting

_WITH_FIRST_MOMENT: Final = When("optimizer.name", ("adamw", "lion", "muon"))
_WITH_BETAS: Final = When("optimizer.name", ("adamw", "lion", "muon", "schedule_free_adamw"))
_WITH_EPS: Final = When("optimizer.name", ("adamw", "muon", "schedule_free_adamw"))


@dataclass
class OptimizerConfig:
    """Which one, and its learning rate; none: the preset's."""

    name: str = setting(
        "adamw",
        "`adamw`, `adafactor`, `lion`, `muon` (with AdamW for all but the matrices of layers) or "
        "`schedule_free_adamw`.",
        choices=("adamw", "adafactor", "lion", "muon", "schedule_free_adamw"),
        see="training.md#other-optimisers",
    )
    preset: str = setting(
        "paper",
        "`paper`: betas (0.9, 0.98), eps 1e-6, no clipping; `released`: (0.9, 0.999), 1e-8, clip at norm 1.",
        choices=("paper", "released"),
    )
    learning_rate: float = setting(2e-5, "Peak learning rate.", bounds=ABOVE_ZERO)
    schedule: str = setting(
        "linear",
        "After warm-up: `linear` or `cosine` decay to `final_fraction` of the peak, or `constant`.",
        choices=("linear", "cosine", "constant"),
    )
    warmup_fraction: float = setting(
        0.03, "Share of the steps spent warming up from 0, unless `warmup_steps` is given.", bounds=SHARE
    )
    warmup_steps: int | None = setting(
        None, "Steps of warm-up; none: from `warmup_fraction`.", bounds=at_least(0)
    )
    final_fraction: float = setting(0.0, "Learning rate at the end, as a share of the peak.", bounds=SHARE)
    beta1: float | None = setting(
        None, "Decay of the first moment; none: the preset's.", bounds=BELOW_ONE, when=_WITH_BETAS
    )
    beta2: float | None = setting(
        None, "Decay of the second moment; none: the preset's.", bounds=BELOW_ONE, when=_WITH_BETAS
    )
    eps: float | None = setting(
        None,
        "Added to the root of the second moment; none: the preset's.",
        bounds=ABOVE_ZERO,
        when=_WITH_EPS,
    )
    mu_dtype: str | None = setting(
        None,
        "Type that the first moment is kept in: `bfloat16` takes half the bytes; none: that of parameters.",
        choices=("float32", "bfloat16"),
        when=_WITH_FIRST_MOMENT,
        see="training.md#other-optimisers",
    )
    muon_beta: float = setting(
        0.95, "Decay of Muon's momentum.", bounds=BELOW_ONE, when=When("optimizer.name", ("muon",))
    )
    clip_norm: float | None = setting(
        None, "Global gradient norm to clip at; 0 never clips; none: the preset's.", bounds=NOT_NEGATIVE
    )
    lora_b_ratio: float = setting(
        1.0,
        "Times the learning rate, that of B in adapters (LoRA+).",
        bounds=ABOVE_ZERO,
        see="adapters.md#learning-rate",
    )
    weight_decay: float = setting(0.0, "Decoupled weight decay.", bounds=NOT_NEGATIVE)
    decay_mask: str = setting(
        "matrices",
        "What weight decay acts on: `matrices` (no norms, biases or embeddings) or `all`.",
        choices=("matrices", "all"),
    )
