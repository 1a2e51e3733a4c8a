"""The configuration of a run: typed dataclasses, overridden by flags such as `--config.loss.policy=im`.

A file in `configs/` returns a `Config` from `get_config()`. `im_jax.command_line` applies the flags and
`im_jax.validation` checks the result, before any work starts. Each group has a file here, in which each field
is declared once, with all that is known of it: see `im_jax.config.record`. A new field is a line there and a
row in `docs/configuration.md`, which `python -m im_jax.config.table` writes.

Field types must be real types (no postponed annotations): `ml_collections.config_flags` reads them.
"""

from typing import Final

from im_jax.config.checkpoint import CheckpointConfig
from im_jax.config.data import TEMPLATES, DataConfig, FieldNames, SubsetConfig, TurnsConfig
from im_jax.config.eval import EvalConfig
from im_jax.config.fields import (
    as_flag,
    check_field,
    config_hash,
    difference,
    flatten,
    group_texts,
    similar,
    to_json,
    with_overrides,
    without_effect,
)
from im_jax.config.log import LogConfig
from im_jax.config.lora import LoraConfig
from im_jax.config.loss import POLICIES, REDUCTIONS, ClassWeights, LossConfig
from im_jax.config.mesh import MeshConfig
from im_jax.config.model import GROW, ModelConfig, RopeScaling
from im_jax.config.optimizer import OptimizerConfig
from im_jax.config.record import Bounds, Decides, Record, When, at_least, group, records, setting
from im_jax.config.rewrites import RewritesConfig
from im_jax.config.root import Config
from im_jax.config.tokenizer import TokenizerConfig
from im_jax.config.train import TrainConfig

CHOICES: Final = {name: record.choices for name, record in records(Config).items() if record.choices}
"""The values that fields with a fixed set of them can have."""

__all__ = [
    "CHOICES",
    "GROW",
    "POLICIES",
    "REDUCTIONS",
    "TEMPLATES",
    "Bounds",
    "CheckpointConfig",
    "ClassWeights",
    "Config",
    "DataConfig",
    "Decides",
    "EvalConfig",
    "FieldNames",
    "LogConfig",
    "LoraConfig",
    "LossConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Record",
    "RewritesConfig",
    "RopeScaling",
    "SubsetConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TurnsConfig",
    "When",
    "as_flag",
    "at_least",
    "check_field",
    "config_hash",
    "difference",
    "flatten",
    "group",
    "group_texts",
    "records",
    "setting",
    "similar",
    "to_json",
    "with_overrides",
    "without_effect",
]
