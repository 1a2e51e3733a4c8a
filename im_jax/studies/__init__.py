"""What is studied with the trainer; each study brings a source of examples and an evaluation.

A study plugs in here, and nothing below knows of it: `data.source` names its source, and `prepare` finds it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.config import Config, RewritesConfig
from im_jax.data import prepare as general
from im_jax.data.prepare import Prepared
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples.prepare import prepare as prepare_rewrites

SOURCES: Final[Mapping[str, Callable[..., Prepared]]] = MappingProxyType({"rewrites": prepare_rewrites})
"""How the examples of each study are prepared, by the value of `data.source` that asks for it."""
_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({"rewrites": RewritesConfig()})
"""The fields of `data` that belong to each of these sources, as they are when nothing is set."""


def prepare(config: Config, tokenizer: Tokenizer, class_weights: jt.Float32[np.ndarray, " C"]) -> Prepared:
    """The data that a configuration asks for: a study's own, or what `im_jax.data.prepare` reads.

    Args and raises: as `im_jax.data.prepare.prepare`.
    """
    for source, unset in _FIELDS.items():
        if config.data.source != source and getattr(config.data, source) != unset:
            raise ConfigError(
                f"fields of data.{source} are set but data.source is {config.data.source}; set "
                f"--config.data.source={source} to use them"
            )
    return SOURCES.get(config.data.source, general.prepare)(config, tokenizer, class_weights)
