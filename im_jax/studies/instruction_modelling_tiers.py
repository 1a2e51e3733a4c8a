"""The sweeps of the paper in sizes for a laptop: the same methods on made-up data, a model from scratch.

`full` is the paper's; `cpu` has runs of a minute or two on two cores; `smoke` shows that everything works.
What comes of the small ones says nothing of pretrained models.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    LossConfig,
    OptimizerConfig,
    TrainConfig,
)
from im_jax.models import presets
from im_jax.sweeps.definition import Axis, KeepCheckpoints, Sweep, over
from im_jax.sweeps.evaluations import Evaluation, Tasks

SIZES: Final = ("smoke", "cpu", "full")

_RATIOS: Final = (3.0, 1.0, 8.0, 2.0, 12.0)
"""Of the made-up sets that stand for those of the paper: of instruction to output in words."""


def in_tier(whole: Sweep, tier: str, sets: int = 3, smoke_sets: int = 1) -> Sweep:
    """A sweep of the paper in one of its sizes.

    Args:
        whole: in full; its axis `data` has training sets, an axis `examples` sizes of a subset.
        tier: one of `SIZES`.
        sets: made-up sets in the place of those of the paper, at most.
        smoke_sets: the same of the smallest size.
    """
    if tier == "full":
        return whole
    smoke = tier == "smoke"
    sets = smoke_sets if smoke else sets
    axes = {name: _small_axis(whole, name, sets, smoke=smoke) for name in whole.axes}
    evaluations = {name: _small(each, smoke=smoke) for name, each in whole.evaluations.items()}
    kept: Mapping[str, Evaluation] = {name: each for name, each in evaluations.items() if each is not None}
    dropped = tuple(f"{name}." for name in evaluations if name not in kept)
    return dataclasses.replace(
        whole,
        title=f"{whole.title.rstrip(',')}, in small on made-up data",
        description=_DESCRIPTION,
        base=_base(whole.base, smoke=smoke),
        axes=axes,
        measures=[each for each in whole.measures if not each.name.startswith(dropped or "\0")],
        seeds=(0, 1) if smoke else (0, 1, 2),
        seed_fields=("seed", "data.seed"),
        plot=whole.plot and dataclasses.replace(whole.plot, references=()),
        evaluations=kept,
        keep_checkpoints=KeepCheckpoints.NONE,
    )


def _base(paper: Config, *, smoke: bool) -> Config:
    """`configs/cpu_debug.py`, which says why these values, with what the paper's runs say of the loss."""
    model = presets.cpu_debug(max_positions=256)
    if smoke:
        model = dataclasses.replace(model, num_layers=2, embed_dim=32, mlp_dim=64)
    return Config(
        data=DataConfig(
            source="generated", template="tulu", max_length=256, num_generated=400 if smoke else 4000
        ),
        model=model,
        loss=LossConfig(reduction=paper.loss.reduction),
        optimizer=OptimizerConfig(learning_rate=3e-3, schedule="cosine", final_fraction=0.1, clip_norm=1.0),
        train=TrainConfig(epochs=2.0 if smoke else 8.0, batch_size=8 if smoke else 16),
        eval=EvalConfig(num_examples=16 if smoke else 100),
        checkpoint=CheckpointConfig(every=50),
        log=LogConfig(every=10, tensorboard=False),
    )


def _small_axis(whole: Sweep, name: str, sets: int, *, smoke: bool) -> Axis:
    axis = whole.axes[name]
    if name == "examples":
        return over("data.subset.examples", *((32, 64, 128) if smoke else (200, 400, 800, 1600)))
    if name == "epochs":
        return dict(list(axis.items())[: 2 if smoke else None])
    if name != "data":
        return axis
    of_size = {} if "examples" in whole.axes else {"data.subset.examples": 48 if smoke else 400}
    ratios = sorted(_RATIOS[: min(sets, len(axis))])
    return {f"ratio_{ratio:g}": {"data.subset.ratio": ratio, **of_size} for ratio in ratios}


def _small(asked: Evaluation, *, smoke: bool) -> Evaluation | None:
    """The suite on few examples; benchmark tasks say nothing of a model from scratch."""
    if isinstance(asked, Tasks):
        return None
    few = 8 if smoke else 50
    return dataclasses.replace(asked, limit=4 * few, answers=few, max_new_tokens=32 if smoke else 64)


_DESCRIPTION: Final = """\
The methods of the paper on generated instructions, chosen by their ratio of instruction to output, with a
model from scratch that reads bytes. It shows that the sweep works, and says nothing of pretrained models."""
