"""Which parameters of a model are trained."""

import fnmatch

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.decoder import abstract_params
from im_jax.models.files.layout import by_path
from im_jax.models.quantised.maps import is_quantised, map_of
from im_jax.training.partition import IsTrained, everything


def trained_parts(model: ModelConfig, patterns: str) -> IsTrained:
    """Which parameters are trained: adapters where there are any, and what the patterns name; else all.

    Args:
        model: with its vocabulary filled in.
        patterns: as `train.trainable` has them, such as `layers.*norm*,head`: `*` is any text.

    Raises:
        ConfigError: a pattern names no parameter, or adapters, which always are, or a map in 4 bits.
    """
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    paths = list(by_path(abstract_params(model)))
    if not wanted:
        return is_adapter if model.lora.rank else everything
    narrow = {map_of(path) for path in paths if is_quantised(path)}
    named = set()
    for pattern in wanted:
        if fixed := sorted(fnmatch.filter(narrow, pattern)):
            raise ConfigError(
                f"train.trainable={pattern} names {fixed[0]}, which is not trained with "
                f"model.base_dtype={model.base_dtype}; name others, or set that to param_dtype"
            )
        found = fnmatch.filter((path for path in paths if not is_adapter(path)), pattern)
        if not found:
            known = ", ".join(path for path in paths if not is_adapter(path))
            tied = "; the head is the embedding" if pattern == "head" and model.tie_embeddings else ""
            raise ConfigError(
                f"train.trainable={pattern} names no parameter of this model{tied}; it has {known}"
            )
        named |= set(found)
    return lambda path: path in named or is_adapter(path)
