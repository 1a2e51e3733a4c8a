"""The weights that a run starts from: a checkpoint's or random ones, and those of an adapter."""

import functools
from typing import Any

import jax
from flax import traverse_util

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.adapters.peft.reading import read_adapter
from im_jax.models.checkpoints import load_pretrained
from im_jax.training.health import not_finite
from im_jax.training.partition import merge, split
from im_jax.training.state import Params


def first_weights(model: ModelConfig, shardings: Any, *, seed: int) -> Params:
    """Those parameters of the model before the first step that `shardings` names, each made where it lives.

    Args:
        model: as the run has it.
        shardings: those of `decoder.param_shardings`, or a part of that tree.
        seed: of the run, from which random weights and new adapters are drawn.

    Raises:
        CheckpointError: the checkpoint cannot be read, or holds what is not finite.
    """
    adapters, rest = split(shardings, is_adapter)
    if not model.path:
        return _drawn(model, shardings, seed)
    params: Params = load_pretrained(model, rest) if rest else {}
    if damaged := not_finite(params):
        raise CheckpointError(
            f"model.path={model.path}: {damaged} hold values that are not finite; the files are damaged: get "
            "them again, or choose another model"
        )
    if model.lora.path and adapters:
        return merge(params, read_adapter(model.lora.path, model, adapters))
    return merge(params, _drawn(model, adapters, seed))


def _drawn(model: ModelConfig, shardings: Any, seed: int) -> Params:
    if not shardings:
        return {}
    wanted = traverse_util.flatten_dict(shardings).keys()

    @functools.partial(jax.jit, out_shardings=shardings)
    def draw(key: jax.Array) -> Params:
        drawn = traverse_util.flatten_dict(decoder.init_params(model, key))
        return traverse_util.unflatten_dict({path: drawn[path] for path in wanted})

    return draw(jax.random.key(seed))
