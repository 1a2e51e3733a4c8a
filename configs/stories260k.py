"""Fine-tune the stories260K model (llama2.c format) on GSM8K; its files are not part of this project.

    python -m im_jax.train --config=configs/stories260k.py \\
        --config.model.path=stories260K.bin --config.tokenizer.path=tok512.bin --config.data.path=train.jsonl
"""

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    FieldNames,
    LogConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    """A quarter-million-parameter model: minutes on a laptop."""
    return Config(
        data=DataConfig(
            source="jsonl",
            fields=FieldNames(prompt="question", completion="answer"),
            template="plain",
            max_length=512,
            max_lost_fraction=0.2,
        ),
        model=ModelConfig(path="stories260K.bin", compute_dtype="float32"),
        loss=LossConfig(policy="im"),
        optimizer=OptimizerConfig(learning_rate=1e-3, clip_norm=1.0),
        train=TrainConfig(steps=200, batch_size=16),
        eval=EvalConfig(num_examples=200),
        checkpoint=CheckpointConfig(every=100),
        log=LogConfig(every=10),
    )
