"""Adapters merged into the maps that they change, layer by layer while they are written."""

import dataclasses

import jaxtyping as jt
import numpy as np

from im_jax.models.adapters.lora import A, B, base_of, is_adapter, scale
from im_jax.models.decoder import abstract_params
from im_jax.models.export.folder import Exported
from im_jax.models.files.layout import LayersOnDisk, by_path, one_layer
from im_jax.models.quantised.maps import wide


def changed(
    weight: jt.Float[np.ndarray, "*inputs_and_outputs"],
    a: jt.Float32[np.ndarray, "*inputs_and_rank"],
    b: jt.Float32[np.ndarray, "*rank_and_outputs"],
    factor: float,
) -> jt.Float32[np.ndarray, "*inputs_and_outputs"]:
    """One layer's map with what its adapter adds, in float32, to be rounded once."""
    return weight.astype(np.float32) + np.float32(factor) * np.tensordot(a, b, 1)


def merged(source: Exported) -> Exported:
    """The model without an adapter, with W + s A B in place of each adapted W.

    That is added up in float32, and rounded once, to the type that is written.
    """
    model = source.model
    factor = scale(model.config.lora)
    adapters = set(filter(is_adapter, by_path(abstract_params(model.config))))

    def parameter(path: str) -> np.ndarray | LayersOnDisk:
        weight = source.parameter(path)
        if path + A not in adapters:
            return weight
        a, b = source.parameter(path + A), source.parameter(path + B)

        def layer(number: int) -> np.ndarray:
            one, other = one_layer(a, number), one_layer(b, number)
            return changed(one_layer(weight, number), one, other, factor)

        return LayersOnDisk(layer)

    whole = dataclasses.replace(model, config=wide(base_of(model.config)))
    return dataclasses.replace(source, model=whole, parameter=parameter)
