"""im_jax: instruction tuning in JAX, with a choice, token class by token class, of what carries loss.

What a notebook needs is here by name: `im_jax.Config`, `im_jax.train`, `im_jax.Model`, all of `__all__`.
`import im_jax` is cheap: each name is looked up, and what it needs imported, when it is first used.
docs/python.md has examples.
"""

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # for type checkers and editors; `_PLACES` says the same to Python
    from im_jax.config import (
        CheckpointConfig,
        ClassWeights,
        Config,
        DataConfig,
        EvalConfig,
        FieldNames,
        LogConfig,
        LossConfig,
        MeshConfig,
        ModelConfig,
        OptimizerConfig,
        RewritesConfig,
        RopeScaling,
        TokenizerConfig,
        TrainConfig,
    )
    from im_jax.errors import UserError
    from im_jax.losses.cross_entropy.api import linear_cross_entropy
    from im_jax.losses.policy import LossPolicy, make_policy
    from im_jax.models.loaded import Model
    from im_jax.opening import open_model, open_run
    from im_jax.token_classes import TokenClass
    from im_jax.training.start import train

__version__ = "0.1.0"

__all__ = [
    "CheckpointConfig",
    "ClassWeights",
    "Config",
    "DataConfig",
    "EvalConfig",
    "FieldNames",
    "LogConfig",
    "LossConfig",
    "LossPolicy",
    "MeshConfig",
    "Model",
    "ModelConfig",
    "OptimizerConfig",
    "RewritesConfig",
    "RopeScaling",
    "TokenClass",
    "TokenizerConfig",
    "TrainConfig",
    "UserError",
    "linear_cross_entropy",
    "make_policy",
    "open_model",
    "open_run",
    "train",
]

_PLACES: Final = MappingProxyType(
    {
        "LossPolicy": "im_jax.losses.policy",
        "Model": "im_jax.models.loaded",
        "TokenClass": "im_jax.token_classes",
        "UserError": "im_jax.errors",
        "linear_cross_entropy": "im_jax.losses.cross_entropy.api",
        "make_policy": "im_jax.losses.policy",
        "open_model": "im_jax.opening",
        "open_run": "im_jax.opening",
        "train": "im_jax.training.start",
    }
)
"""The modules of names that are not those of groups of the configuration."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES.get(name, "im_jax.config")), name)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
