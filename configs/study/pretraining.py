"""Pretrain a small model on plain text, from which the study of IM and IT starts.

    python -m im_jax.data.builders.text_jsonl --path=FILES --output=text.jsonl
    python -m im_jax.train --config=configs/study/pretraining.py \\
        --config.data.path=text.jsonl --config.tokenizer.path=tok512.bin --workdir=DIR
"""

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    LossConfig,
    OptimizerConfig,
    TrainConfig,
    TurnsConfig,
)
from im_jax.models import presets


def get_config() -> Config:
    """0.8 million parameters with a vocabulary of 512."""
    return Config(
        data=DataConfig(
            source="jsonl",
            path="text.jsonl",
            turns=TurnsConfig(empty="keep"),
            template="plain",
            max_length=512,
            max_lost_fraction=0.5,
        ),
        model=presets.cpu_debug(max_positions=512),
        loss=LossConfig(policy="all"),
        optimizer=OptimizerConfig(
            learning_rate=3e-3,
            schedule="cosine",
            warmup_fraction=0.05,
            final_fraction=0.1,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(epochs=3.0, batch_size=16),
        eval=EvalConfig(num_examples=100, every=200),
        checkpoint=CheckpointConfig(every=200, keep=1),
        log=LogConfig(every=20, tensorboard=False),
    )
