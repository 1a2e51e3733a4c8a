"""What the experiments on string rewrites start from, in three sizes.

Where the paper (arXiv:2402.10891) leaves a choice open, it is made here and named in `OPEN_CHOICES`, which
reports print.
"""

import dataclasses
from typing import Any, Final

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
from im_jax.sweeps.definition import SHARE, Better, Measure

TIERS: Final = ("smoke", "cpu", "full")
"""`smoke`: seconds a run, learns nothing; `cpu`: two minutes a run on one core; `full`: as the paper."""

SEED_FIELDS: Final = ("seed", "data.seed")
"""What a sweep's seed sets: initial weights and order, and which rules and strings there are."""


def share(name: str, title: str, better: Better = Better.NEITHER) -> Measure:
    """A measure between 0 and 1."""
    return Measure(name, title, better=better, bounds=SHARE)


UNSEEN: Final = share("rewrites.unseen/accuracy", "accuracy on unseen rules", Better.HIGHER)
TRAIN_RULES: Final = share("rewrites.train_rules/accuracy", "accuracy on training rules", Better.HIGHER)
"""Beside `UNSEEN`, to tell what was not learned from what does not generalise."""

OPEN_CHOICES: Final = """\
What the paper does not say, and what is done here: sequences are `BOS x > y : z newline answer EOS`, one
token a character, with loss on answer and EOS; y is as long as x; the alphabet is a to z where nothing else
is said; no dropout, no weight decay; gradients are clipped at norm 1; the learning rate warms up over 3 %
of the steps, in the small sizes over 10 %; AdamW has beta2 = 0.999, in the small sizes 0.98 (with a faster
rate or a longer memory some seeds stay for long at copying with a guess); test rules are pairs (x, y) that
training has not; no-ops have their share in every rule."""

_QUICK: Final = OptimizerConfig(learning_rate=2e-3, warmup_fraction=0.1, beta2=0.98)

_Sizes = tuple[RewritesConfig, ModelConfig, TrainConfig, OptimizerConfig]


def base(tier: str) -> Config:
    """The basic task: every input contains the left side of its rule, once."""
    sizes = {"smoke": _smoke, "cpu": _cpu, "full": _full}[tier]
    rewrites, model, train, optimizer = sizes()
    length = _tokens(rewrites)
    return Config(
        data=DataConfig(
            source="rewrites", template="plain", packing="none", max_length=length, rewrites=rewrites
        ),
        model=dataclasses.replace(model, max_positions=_positions(model.max_positions, length)),
        loss=LossConfig(policy="it"),
        optimizer=dataclasses.replace(optimizer, preset="released", schedule="linear"),
        train=train,
        eval=EvalConfig(num_examples=128),
        checkpoint=CheckpointConfig(every=0),
        log=LogConfig(every=100, tensorboard=False),
    )


def lengths(tier: str, input_length: int, side_length: int) -> dict[str, Any]:
    """Overrides of `base(tier)` for inputs and sides of so many letters, with rows that just hold them."""
    config = base(tier)
    rewrites = dataclasses.replace(
        config.data.rewrites, input_length=input_length, left_length=side_length, right_length=side_length
    )
    length = _tokens(rewrites)
    return {
        "data.rewrites.input_length": input_length,
        "data.rewrites.left_length": side_length,
        "data.rewrites.right_length": side_length,
        "data.max_length": length,
        "model.max_positions": _positions(config.model.max_positions, length),
    }


def seeds(tier: str, count: int) -> tuple[int, ...]:
    """The seeds of a sweep: one where nothing is learned, three at the paper's sizes, else `count`."""
    return tuple(range({"smoke": 1, "cpu": count, "full": 3}[tier]))


def _positions(least: int, length: int) -> int:
    """A few positions more than an example has, so that answers that go on too long can be told."""
    return max(least, length + 8)


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


def _smoke() -> _Sizes:
    return _short(1000, 50, 100), _small(1, 32), TrainConfig(steps=30, batch_size=32), _QUICK


def _cpu() -> _Sizes:
    return _short(100_000, 500, 1000), _small(2, 64), TrainConfig(steps=4000, batch_size=64), _QUICK


def _full() -> _Sizes:
    rewrites = RewritesConfig(
        num_examples=1_000_000,
        left_length=20,
        right_length=20,
        input_length=50,
        num_test_rules=10_000,
        num_test_examples=100_000,
    )
    model = dataclasses.replace(presets.gpt2_rewrites(), compute_dtype="bfloat16")
    return rewrites, model, TrainConfig(epochs=50, batch_size=512), OptimizerConfig(learning_rate=1e-3)
