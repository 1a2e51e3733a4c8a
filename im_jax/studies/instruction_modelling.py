"""What the experiments of the paper on Instruction Modelling are made of: models, training sets, methods.

Shi et al., "Instruction Tuning With Loss Over Instructions", NeurIPS 2024, arXiv:2405.14394. Its tables and
figures are sweeps in `configs/paper/`. Where the paper and the code released with it disagree, it says here
which of them is taken.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    LoraConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from im_jax.sweeps.definition import NOT_NEGATIVE, Axis, Better, KeepCheckpoints, Measure, Overrides, Sweep
from im_jax.sweeps.evaluations import Evaluations, Overfitting, Tasks

LLAMA_2_7B: Final = "Llama-2-7b-hf"
LLAMA_2_13B: Final = "Llama-2-13b-hf"
OPT_6_7B: Final = "opt-6.7b"
"""Folders of the base models (section 4.1), called as on the Hugging Face hub; `model.path` names another."""

SEVEN: Final = (
    "alpagasus_alpaca_5k",
    "alpagasus_dolly_3k",
    "alpagasus_dolly_9k",
    "less_tydiqa",
    "less_mmlu_chat",
    "less_bbh_icl",
    "lima",
)
"""Recipes of the training sets of Table 1, in its order."""

RATIO: Final = Measure(
    "data.trained.instruction_output_ratio_words",
    "words of instruction to words of output",
    bounds=NOT_NEGATIVE,
)
"""As Table 5 counts them, of the examples that are trained on: a subset has a ratio of its own."""

EXAMPLES: Final = Measure("data.trained.examples", "training examples", bounds=NOT_NEGATIVE)
HELD_OUT: Final = Measure(
    "heldout.nll/assistant", "held-out loss of outputs", "nats", Better.LOWER, NOT_NEGATIVE
)

NLP: Final[Evaluations] = {"nlp": Tasks(("im_paper", "humaneval"), add_bos="no")}
"""The list of section 4.2 with its shots, as its harness asked Llama: without BOS."""

NLP_MEASURES: Final = tuple(
    Measure(f"nlp.im_paper: {name}/mean", name, better=Better.HIGHER)
    for name in (
        "mean, as the paper",
        *("understanding & knowledge", "multilinguality", "commonsense", "math & code", "bbh"),
        "safety & helpfulness",
    )
)
"""Means over the list and over its categories, in shares."""

LEARNED: Final[Evaluations] = {
    "overfitting": Overfitting(limit=500, answers=500, max_new_tokens=512, gradient_examples=0)
}
BLEU: Final = Measure(
    "overfitting.bleu/train", "BLEU on training instructions", "%", Better.LOWER, (0.0, 100.0)
)
LEARNED_MEASURES: Final = (
    BLEU,
    Measure("overfitting.bleu/heldout", "BLEU on held-out instructions", "%", bounds=(0.0, 100.0)),
    Measure("overfitting.output_loss/train", "loss on training outputs", "nats", bounds=NOT_NEGATIVE),
    Measure(
        "overfitting.output_loss/heldout", "loss on held-out outputs", "nats", Better.LOWER, NOT_NEGATIVE
    ),
    Measure("overfitting.output_gap", "held-out minus training loss on outputs", "nats", Better.LOWER),
)
"""What Table 2 and Figure 3 tell."""

_EPOCHS: Final = {"lima": 10.0}
"""Table 1 has `10 epoch` beside LIMA; all others: 2 (appendix C: typically 2; Table 6: 2, 3 or 10)."""

_LONG: Final = {"science": {"data.max_lost_fraction": 0.5}}
"""Its instructions have 1,150 words in the mean (Table 5): of many 2,048 tokens hold no output."""

_METHODS: Final[Mapping[str, Overrides]] = {
    "it": {"loss.policy": "it"},
    "im": {"loss.policy": "im"},
    # alpha: the released commands; the paper does not say it.
    "neftune": {"loss.policy": "it", "loss.neftune_alpha": 5.0},
    "im_neftune": {"loss.policy": "im", "loss.neftune_alpha": 5.0},
    # lambda: 1.0 in Table 3, 0.01 to 1.0 in Table 7. Of the whole vocabulary, as equation 5 has it.
    "kl_0.01": {"loss.policy": "it", "loss.kl.weight": 0.01},
    "kl_0.1": {"loss.policy": "it", "loss.kl.weight": 0.1},
    "kl_1": {"loss.policy": "it", "loss.kl.weight": 1.0},
}
"""Policies are those that the paper describes. What its code trains on is `it_released` and `im_released`."""


def data(*recipes: str) -> Axis:
    """An axis over training sets, by the names of recipes, each for as long as the paper trains on it."""
    return {
        name: {"data.recipe": name, "train.epochs": _EPOCHS.get(name, 2.0)} | _LONG.get(name, {})
        for name in recipes
    }


def methods(*names: str) -> Axis:
    """An axis over methods: `it`, `im`, `neftune`, `im_neftune`, or IT with `kl_0.01`, `kl_0.1`, `kl_1`."""
    return {name: _METHODS[name] for name in names}


def base(model: str) -> Config:
    """A run before its training set and method are chosen.

    Args:
        model: folder of the model that it starts from.
    """
    return Config(
        # Template and wrappers: released code. 2048 tokens: Table 6. A row an example: batch size per GPU, 1.
        data=DataConfig(source="jsonl", template="tulu", max_length=2048, packing="none"),
        # bf16 mixed precision: Table 6, so parameters are float32; all of them are trained.
        model=ModelConfig(path=model, compute_dtype="bfloat16", remat="full"),
        # The paper has sums; its code takes the mean of each example, then of the 128 of a step.
        loss=LossConfig(reduction="example_mean"),
        # Rate, schedule, warm-up, decay: Table 6. Its betas 0.9 and 0.98 and eps 1e-6 are not in the code, by
        # which the results came about: 0.9, 0.999, 1e-8, clipping at 1. `optimizer.preset=paper` has those.
        optimizer=OptimizerConfig(
            preset="released",
            learning_rate=2e-5,
            schedule="linear",
            warmup_fraction=0.03,
            weight_decay=0.0,
        ),
        # 128 sequences a step: Table 6. Micro-batches of 8 rows: one a device, where there are eight.
        train=TrainConfig(epochs=2.0, batch_size=128, accumulate=16),
        eval=EvalConfig(num_examples=0),  # all examples are trained on
        checkpoint=CheckpointConfig(every=200, keep=1),
        log=LogConfig(every=5),
    )


def sweep(
    title: str,
    axes: Mapping[str, Axis],
    model: str = LLAMA_2_7B,
    measures: Sequence[Measure] = (),
    **changes: Any,
) -> Sweep:
    """A table or figure of the paper.

    Args:
        title: which one it is.
        axes: what its runs differ in.
        model: folder of the model that they start from.
        measures: more than the data and the held-out loss.
        changes: other fields of `Sweep`.
    """
    return Sweep(
        title=f"{title} of Shi et al. (2024)",
        description=_DESCRIPTION,
        base=base(model),
        axes=axes,
        measures=(EXAMPLES, RATIO, HELD_OUT, *measures),
        keep_checkpoints=KeepCheckpoints.ALL,  # the models are what is evaluated
        **changes,
    )


def on_one_gpu(whole: Sweep) -> Sweep:
    """A sweep with an adapter beside a model in 4 bits, where the paper trains all parameters.

    Rank, alpha, dropout and rate are those of Tülu 2's QLoRA (arXiv:2311.10702).
    """
    base = copy.deepcopy(whole.base)
    base.model.base_dtype, base.model.param_dtype = "nf4", "bfloat16"
    base.model.lora = LoraConfig(rank=64, alpha=16.0, dropout=0.1)
    base.optimizer.learning_rate = 1e-4
    return dataclasses.replace(whole, title=f"{whole.title}, with adapters", base=base)


_DESCRIPTION: Final = """\
The runs of the paper; its numbers are those of benchmarks, which are measured on the models that the runs
leave in `runs/*/checkpoints`. Held-out loss is measured where `eval.path` names other data."""
