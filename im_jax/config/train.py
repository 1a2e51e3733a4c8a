"""`train`: how long, and how much at a time."""

from dataclasses import dataclass

from im_jax.config.record import NOT_NEGATIVE, Decides, When, at_least, setting


@dataclass
class TrainConfig:
    """How long, and how much at a time."""

    steps: int = setting(0, "Optimiser steps; 0: from `epochs`.", bounds=at_least(0), may_change=True)
    epochs: float = setting(
        0.0, "Passes over the training rows, instead of `steps`.", bounds=NOT_NEGATIVE, may_change=True
    )
    batch_size: int = setting(128, "Rows in one optimiser step, over all devices.", bounds=at_least(1))
    accumulate: int = setting(
        1,
        "Micro-batches that one optimiser step is cut into; the result does not depend on it.",
        bounds=at_least(1),
        decides=Decides.SPEED,
    )
    reduce_dtype: str = setting(
        "float32",
        "Type in which devices add up their gradients of matrices: `bfloat16` sends half the bytes.",
        choices=("float32", "bfloat16"),
        see="training.md#memory-and-traffic-of-tpus",
    )
    trainable: str = setting(
        "",
        "Patterns of parameters that are trained, as `layers.*norm*,head`; empty: all, or only the adapters.",
        see="adapters.md#training-some-of-the-parameters",
    )
    not_finite: str = setting(
        "stop",
        "Where a step's loss or gradient is not finite: the run stops, or leaves its update out and goes on.",
        choices=("stop", "skip"),
        may_change=True,
        see="training.md#numbers-that-are-not-finite",
    )
    max_skipped: int = setting(
        10,
        "Steps in a row that may be skipped; one more stops the run.",
        bounds=at_least(0),
        decides=Decides.REFUSAL,
        when=When("train.not_finite", ("skip",)),
    )
