"""What the study of IM and IT on small models is made of (docs/study.md): one base, and what its sweeps vary.

All sweeps of `configs/study/` start from a model that was pretrained, and tune it on instruction data of real
users. The files are not part of this project:

    python -m im_jax.sweep --config=configs/study/ratio.py --workdir=DIR \\
        --config.model.path=MODEL --config.tokenizer.path=TOKENIZER --config.data.path=FILES \\
        --local_data=DATA
"""

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
    TokenizerConfig,
    TrainConfig,
    TurnsConfig,
)
from im_jax.sweeps.definition import NOT_NEGATIVE, Axis, Better, Measure, Overrides, Sweep
from im_jax.sweeps.evaluations import Overfitting, Tasks

HELD_OUT: Final = 200
EXAMPLES: Final = 300
"""Of training, where their number is not what varies."""
RATIO: Final = 5.0
"""Words of instruction to words of output, where it is not what varies."""

_EVALUATED_EVERY: Final = 38
"""Steps: about an epoch of `EXAMPLES`, to see where a run should have stopped."""
_BENCHMARKS: Final = ("arc_easy", "openbookqa", "piqa", "winogrande")
"""Accuracy is chance for models of this size; how many bits the right answer takes is not."""

METHODS: Final[dict[str, Overrides]] = {
    "it": {"loss.policy": "it"},
    "im": {"loss.policy": "im"},
    "prompt_0.1": {"loss.policy": "im", "loss.weights.user": 0.1},
    "prompt_0.3": {"loss.policy": "im", "loss.weights.user": 0.3},
    "neftune": {"loss.policy": "it", "loss.neftune_alpha": 5.0},
    "im_neftune": {"loss.policy": "im", "loss.neftune_alpha": 5.0},
    "kl_0.1": {"loss.policy": "it", "loss.kl.weight": 0.1},
}


def subset(examples: int = EXAMPLES, ratio: float = RATIO) -> Overrides:
    """So many examples of training, and some held out, whose ratio of instruction to output is about one."""
    return {"data.subset.examples": examples + HELD_OUT, "data.subset.ratio": ratio}


def methods(*names: str) -> Axis:
    """An axis over some of `METHODS`."""
    return {name: METHODS[name] for name in names}


def base(tier: str) -> Config:
    """A run before its data and method are chosen. `smoke`: two epochs, to see that everything works."""
    return Config(
        data=DataConfig(
            source="jsonl",
            path="FILES",
            turns=TurnsConfig(empty="skip"),  # the paper's Alpaca has one
            template="tulu",
            max_length=384,
            truncation="keep_output",
        ),
        tokenizer=TokenizerConfig(path="TOKENIZER"),
        model=ModelConfig(path="MODEL", compute_dtype="float32"),
        # As the released code: the mean of each example, then of those of a step.
        loss=LossConfig(reduction="example_mean"),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, schedule="linear", warmup_fraction=0.03, weight_decay=0.0, clip_norm=1.0
        ),
        train=TrainConfig(epochs=2.0 if tier == "smoke" else 5.0, batch_size=8),
        eval=EvalConfig(num_examples=HELD_OUT, every=_EVALUATED_EVERY),
        checkpoint=CheckpointConfig(every=1000, keep=1),
        log=LogConfig(every=20, tensorboard=False),
    )


def sweep(title: str, tier: str, axes: dict[str, Axis], **changes: Any) -> Sweep:
    """A sweep of the study, with what all of them measure.

    Args:
        title: what varies.
        tier: `smoke` or `cpu`.
        axes: what its runs differ in.
        changes: other fields of `Sweep`.
    """
    few = tier == "smoke"
    return Sweep(
        title=f"{title}, of small models",
        description=_DESCRIPTION,
        base=base(tier),
        axes=axes,
        seeds=(0,) if few else (0, 1, 2),
        seed_fields=("seed", "data.seed"),
        evaluations={
            "overfitting": Overfitting(
                limit=10 if few else 100, answers=4 if few else 20, max_new_tokens=48, gradient_examples=0
            ),
            "benchmarks": Tasks(_BENCHMARKS, num_fewshot=0, limit=10 if few else 200),
        },
        measures=MEASURES,
        **changes,
    )


MEASURES: Final = (
    Measure(
        "overfitting.output_loss/heldout", "held-out loss of outputs", "nats", Better.LOWER, NOT_NEGATIVE
    ),
    Measure("overfitting.output_loss/train", "training loss of outputs", "nats", bounds=NOT_NEGATIVE),
    Measure("overfitting.output_gap", "held-out minus training loss of outputs", "nats", Better.LOWER),
    Measure("heldout.nll/assistant", "held-out loss of output tokens", "nats", Better.LOWER, NOT_NEGATIVE),
    Measure("heldout.nll/user", "held-out loss of instruction tokens", "nats", Better.LOWER, NOT_NEGATIVE),
    Measure("overfitting.bleu/train", "BLEU on training instructions", bounds=(0.0, 100.0)),
    Measure(
        "overfitting.bleu/heldout", "BLEU on held-out instructions", better=Better.HIGHER, bounds=(0.0, 100.0)
    ),
    *(
        Measure(
            f"benchmarks.{task}/answer_bits_per_byte",
            f"right answers of {task}",
            "bits a byte",
            Better.LOWER,
            NOT_NEGATIVE,
        )
        for task in _BENCHMARKS
    ),
)

_DESCRIPTION: Final = """\
Small models that were pretrained are tuned on instruction data of real users, with and without loss on the
instructions. Each seed draws other examples, and their order. Losses of outputs are means over examples."""
