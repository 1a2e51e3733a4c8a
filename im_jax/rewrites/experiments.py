"""What the experiments on string rewrites start from, in three sizes.

Where the paper (arXiv:2402.10891) leaves a choice open, it is made here and named in `OPEN_CHOICES`, which
reports print.
"""

import dataclasses
from typing import Final

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RewritesConfig,
    TrainConfig,
)
from im_jax.models import presets

TIERS: Final = ("smoke", "cpu", "full")
"""`smoke`: seconds a run, learns nothing; `cpu`: a minute or two a run on two cores; `full`: as the paper."""

OPEN_CHOICES: Final = """\
What the paper does not say, and what is done here: sequences are `BOS x > y : z newline answer EOS`, one
token a character, with loss on answer and EOS; y is as long as x; the alphabet is a to z; no dropout, no
weight decay; gradients are clipped at norm 1; the learning rate warms up over 3 % of the steps; test rules
are pairs (x, y) that training has not; no-ops have their share in every rule."""


def base(tier: str) -> Config:
    """The basic task: every input contains the left side of its rule, once."""
    sizes = {"smoke": _smoke, "cpu": _cpu, "full": _full}[tier]
    rewrites, model, train, learning_rate = sizes()
    length = _tokens(rewrites)
    # A few positions more, so that answers that go on too long can be told.
    model = dataclasses.replace(model, max_positions=max(model.max_positions, length + 8))
    return Config(
        data=DataConfig(
            source="rewrites", template="plain", packing="none", max_length=length, rewrites=rewrites
        ),
        model=model,
        loss=LossConfig(policy="it"),
        optimizer=OptimizerConfig(learning_rate=learning_rate, preset="released", schedule="linear"),
        train=train,
        eval=EvalConfig(num_examples=128),
        checkpoint=CheckpointConfig(every=0),
        log=LogConfig(every=100, tensorboard=False),
    )


def _tokens(rewrites: RewritesConfig) -> int:
    """Tokens of the longest example: four marks of the prompt and its ends, one newline, and letters."""
    longer = max(0, rewrites.right_length - rewrites.left_length)
    return 5 + rewrites.left_length + rewrites.right_length + 2 * rewrites.input_length + longer


def _small(layers: int, width: int) -> ModelConfig:
    """The paper's architecture, smaller."""
    return dataclasses.replace(
        presets.gpt2_rewrites(),
        num_layers=layers,
        embed_dim=width,
        mlp_dim=4 * width,
        max_positions=1,
        compute_dtype="float32",
    )


def _short(examples: int, test_rules: int, test_examples: int) -> RewritesConfig:
    """Strings of 6 letters, rules of 2."""
    return RewritesConfig(
        num_examples=examples,
        left_length=2,
        right_length=2,
        input_length=6,
        num_test_rules=test_rules,
        num_test_examples=test_examples,
    )


def _smoke() -> tuple[RewritesConfig, ModelConfig, TrainConfig, float]:
    return _short(1000, 50, 100), _small(1, 32), TrainConfig(steps=30, batch_size=32), 3e-3


def _cpu() -> tuple[RewritesConfig, ModelConfig, TrainConfig, float]:
    return _short(100_000, 500, 1000), _small(2, 64), TrainConfig(steps=2000, batch_size=128), 3e-3


def _full() -> tuple[RewritesConfig, ModelConfig, TrainConfig, float]:
    rewrites = RewritesConfig(
        num_examples=1_000_000,
        left_length=20,
        right_length=20,
        input_length=50,
        num_test_rules=10_000,
        num_test_examples=100_000,
    )
    model = dataclasses.replace(presets.gpt2_rewrites(), compute_dtype="bfloat16")
    return rewrites, model, TrainConfig(epochs=50, batch_size=512), 1e-3
