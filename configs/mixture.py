"""A small Llama from scratch on three recipes, whose files are in a folder: `--config.data.path=FILES`.

What each of them loses on held-out examples is measured apart. `docs/recipes.md` says where the files are.
"""

import dataclasses

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


def get_config() -> Config:
    """`configs/tiny_llama.py` on Dolly, half of Alpaca, and LIMA twice, without what is in two of them."""
    return Config(
        data=DataConfig(
            source="jsonl",
            mixture="dolly=recipe:dolly_15k@all; alpaca=recipe:stanford_alpaca@x0.5; lima=recipe:lima@x2",
            deduplicate="exact",
            template="tulu",
            max_length=1024,
        ),
        model=dataclasses.replace(
            presets.small(), max_positions=1024, tie_embeddings=True, compute_dtype="float32"
        ),
        loss=LossConfig(policy="im"),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="cosine", final_fraction=0.1, clip_norm=1.0),
        train=TrainConfig(steps=200, batch_size=4),
        eval=EvalConfig(num_examples=100),
        checkpoint=CheckpointConfig(every=100),
        log=LogConfig(every=10),
    )
