"""A small Llama from scratch on data of your own: `--config.data.path=FILE.jsonl`.

With a tokenizer: `--config.tokenizer.path=tokenizer.model`. The first thing to try IM against IT on.
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
    """About 3 M parameters beside the embedding; 200 steps."""
    return Config(
        data=DataConfig(source="jsonl", template="tulu", max_length=1024),
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
