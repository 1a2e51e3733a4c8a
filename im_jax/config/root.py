"""`Config`: everything that decides a run, by groups."""

from dataclasses import dataclass

from im_jax.config.checkpoint import CheckpointConfig
from im_jax.config.data import LARGEST_SEED, DataConfig
from im_jax.config.eval import EvalConfig
from im_jax.config.log import LogConfig
from im_jax.config.loss import LossConfig
from im_jax.config.mesh import MeshConfig
from im_jax.config.model import ModelConfig
from im_jax.config.optimizer import OptimizerConfig
from im_jax.config.record import Decides, at_least, group, setting
from im_jax.config.tokenizer import TokenizerConfig
from im_jax.config.train import TrainConfig


@dataclass
class Config:
    """Everything that decides a run."""

    seed: int = setting(
        0, "Seed of the initial weights and of the order of the data.", bounds=at_least(0, LARGEST_SEED)
    )
    data: DataConfig = group(DataConfig)
    tokenizer: TokenizerConfig = group(TokenizerConfig)
    model: ModelConfig = group(ModelConfig)
    loss: LossConfig = group(LossConfig)
    optimizer: OptimizerConfig = group(OptimizerConfig)
    train: TrainConfig = group(TrainConfig)
    eval: EvalConfig = group(EvalConfig)
    checkpoint: CheckpointConfig = group(CheckpointConfig, decides=Decides.PLACE)
    log: LogConfig = group(LogConfig, decides=Decides.PLACE)
    mesh: MeshConfig = group(MeshConfig, decides=Decides.PLACE)
