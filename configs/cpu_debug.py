"""A complete small run for a laptop: generated instructions, bytes as tokens, a model from scratch."""

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
    """About a minute of training on two CPU cores."""
    return Config(
        data=DataConfig(source="generated", num_generated=4000, template="tulu", max_length=256),
        model=presets.cpu_debug(max_positions=256),
        loss=LossConfig(policy="im"),
        optimizer=OptimizerConfig(learning_rate=3e-3, schedule="cosine", final_fraction=0.1, clip_norm=1.0),
        train=TrainConfig(steps=150, batch_size=16),
        eval=EvalConfig(num_examples=200, every=50),
        checkpoint=CheckpointConfig(every=50),
        log=LogConfig(every=10),
    )
