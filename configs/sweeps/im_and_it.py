"""Instruction Modelling against instruction tuning on generated instructions, by number of training examples.

python -m im_jax.sweep --config=configs/sweeps/im_and_it.py --workdir=DIR [--tier=smoke|tutorial]
"""

import dataclasses

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    OptimizerConfig,
    TrainConfig,
)
from im_jax.models import presets
from im_jax.sweeps.definition import NOT_NEGATIVE, Better, Measure, Plot, Scale, Sweep, over

TIERS = ("smoke", "tutorial", "cpu")

DESCRIPTION = """\
A model from scratch reads bytes, and is trained for the same number of steps on few or many examples: the
fewer, the more often it sees each. Held-out loss is measured on the same examples under both policies, and on
others for each seed and number of examples. A demonstration on a toy, which says nothing about pretrained
models."""


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: a minute, to see that everything works; `tutorial`: 8 short runs, for docs/tutorial.md.

    `cpu`: 24 runs of a minute or two on two cores.
    """
    base = base_config()
    counts, seeds = {
        "smoke": ((40, 160), (0, 1)),
        "tutorial": ((40, 640), (0, 1)),
        "cpu": ((100, 300, 1000, 3000), (0, 1, 2)),
    }[tier]
    if tier == "smoke":
        base.model = dataclasses.replace(base.model, num_layers=2, embed_dim=32, mlp_dim=64)
        base.train.steps, base.train.batch_size, base.eval.num_examples = 20, 4, 16
    elif tier == "tutorial":
        base.model = dataclasses.replace(base.model, num_layers=2, embed_dim=64, mlp_dim=176)
        base.train.steps, base.train.batch_size, base.eval.num_examples = 120, 8, 100
    held_out = base.eval.num_examples
    return Sweep(
        title="IM against IT on generated instructions",
        description=DESCRIPTION,
        base=base,
        axes={
            "policy": over("loss.policy", "im", "it"),
            "examples": {str(count): {"data.num_generated": count + held_out} for count in counts},
        },
        seeds=seeds,
        seed_fields=("seed", "data.seed"),
        measures=(
            Measure("heldout.nll/assistant", "held-out loss of answers", "nats", Better.LOWER, NOT_NEGATIVE),
            Measure("heldout.nll/user", "held-out loss of instructions", "nats", Better.LOWER, NOT_NEGATIVE),
        ),
        plot=Plot(x="examples", series="policy", x_scale=Scale.LOG),
    )


def base_config() -> Config:
    """`configs/cpu_debug.py`, which says why these values, without evaluation on the way."""
    return Config(
        data=DataConfig(source="generated", template="tulu", max_length=256),
        model=presets.cpu_debug(max_positions=256),
        optimizer=OptimizerConfig(learning_rate=3e-3, schedule="cosine", final_fraction=0.1, clip_norm=1.0),
        train=TrainConfig(steps=150, batch_size=16),
        eval=EvalConfig(num_examples=200),
        checkpoint=CheckpointConfig(every=50),
        log=LogConfig(every=10, tensorboard=False),
    )
