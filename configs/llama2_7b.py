"""The paper's run: LLaMA-2-7B, full parameters, Shi et al. (2024) section 4 and appendix.

    python -m im_jax.train --config=configs/llama2_7b.py --workdir=DIR \\
        --config.model.path=DIRECTORY --config.data.path=FILE.jsonl
"""

from im_jax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    LogConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    """128 sequences of 2048 tokens a step, one example a row, mean over examples, as the released code."""
    return Config(
        data=DataConfig(source="jsonl", template="tulu", max_length=2048, packing="none"),
        model=ModelConfig(path="Llama-2-7b-hf", compute_dtype="bfloat16", remat="full"),
        loss=LossConfig(policy="im", reduction="example_mean"),
        optimizer=OptimizerConfig(preset="released", learning_rate=2e-5, schedule="linear"),
        train=TrainConfig(epochs=2.0, batch_size=128, accumulate=1),
        checkpoint=CheckpointConfig(every=200),
        log=LogConfig(every=5),
        mesh=MeshConfig(fsdp=-1, tensor=1),
    )
