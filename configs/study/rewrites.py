"""String rewrites in words, by a pretrained model: by the number of rules (docs/rewrites.md).

python -m im_jax.sweep --config=configs/study/rewrites.py --workdir=DIR [--tier=smoke|full] \\
    --config.model.path=MODEL --config.tokenizer.path=TOKENIZER
"""

import dataclasses
import string
from typing import Any

from im_jax.config import Config, with_overrides
from im_jax.studies.rewrites import experiments
from im_jax.sweeps.definition import Better, Plot, Scale, Sweep, over

TIERS = experiments.TIERS

DESCRIPTION = """\
A model that was pretrained on text is asked in words to replace letters; two of five strings stay as they
are. The paper (arXiv:2402.10891) does so with Llama 2 7B and an adapter, and with rewriting that is encrypted
by a cipher that it does not tell: with few rules only strings that stay are right.
"""

RULES = {"smoke": (30,), "cpu": (30, 100, 1000), "full": (10, 100, 1000, 9000)}
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"data.max_length": 48, "train.steps": 3, "data.rewrites.num_test_examples": 20},
    "cpu": {
        "data.rewrites.num_examples": 40_000,
        "data.max_length": 48,
        "train.steps": 1500,
        "optimizer.learning_rate": 1e-3,
        "model.compute_dtype": "float32",
    },
    "full": {
        "data.rewrites.num_examples": 40_000,
        "data.max_length": 256,
        "train.epochs": 0.0,
        "train.steps": 2000,
        "train.batch_size": 64,
        "optimizer.learning_rate": 1e-5,
        "model.lora.rank": 512,
        "model.lora.alpha": 1024.0,
        "data.rewrites.num_test_examples": 5000,
    },
}
"""What is not that of `rewrites_rules.py`. `full` has the paper's adapter, rate and
numbers; its lengths are not told."""
TRAINED: dict[str, dict[str, Any]] = {
    "everything": {},
    "adapter": {
        "model.lora.rank": 32,
        "model.lora.alpha": 64.0,
        "train.trainable": "embed*",
        "optimizer.learning_rate": 3e-3,
    },
}
"""What of a small model is trained in `cpu`: all of it, or its embedding and an adapter. With an
adapter alone it did not learn the task."""
PROMPT = "Replace the first {left} in {input} by {right}."


def get_sweep(tier: str = "cpu") -> Sweep:
    """`smoke`: seconds; `cpu`: 6 runs of five minutes from stories260K; `full`: from Llama 2 7B."""
    axes = {"rules": over("data.rewrites.num_rules", *RULES[tier])}
    return Sweep(
        title="Rewriting in words, by a pretrained model",
        description=DESCRIPTION,
        base=_base(tier),
        axes=axes | ({"trained": TRAINED} if tier == "cpu" else {}),
        seeds=(0,) if tier == "cpu" else experiments.seeds(tier, 1),
        seed_fields=experiments.SEED_FIELDS,
        measures=(
            experiments.share("rewrites.unseen/has_op", "unseen rules, strings that change", Better.HIGHER),
            experiments.share("rewrites.unseen/no_op", "unseen rules, strings that stay", Better.HIGHER),
            experiments.share("rewrites.train_rules/has_op", "training rules, strings that change"),
        ),
        plot=Plot(x="rules", series="trained" if tier == "cpu" else "", x_scale=Scale.LOG),
    )


def _base(tier: str) -> Config:
    config = experiments.base(tier)
    rewrites = dataclasses.replace(
        config.data.rewrites,
        alphabet=string.ascii_uppercase,  # a token a letter in most vocabularies, as lower case is not
        prompt=PROMPT,
        no_op_fraction=0.4,
    )
    changes = _SIZES[tier] | {"model.path": "MODEL", "tokenizer.path": "TOKENIZER"}
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, rewrites=rewrites))
    return with_overrides(config, changes)
