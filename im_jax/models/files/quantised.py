"""Maps in NF4 out of files that have them whole: quantised part by part, on the host, as they are read."""

import math
from typing import Any

import jax
import numpy as np

from im_jax.config import ModelConfig
from im_jax.models.decoder import abstract_params
from im_jax.models.files.layout import LayersOnDisk, ParamReader, by_path
from im_jax.models.quantised.maps import CODES, SCALES, map_of, wide
from im_jax.models.quantised.nf4 import BLOCK, Quantised, dequantise, quantise

_Bounds = tuple[tuple[int, int], ...]
"""Of layers, of blocks, and of each dimension of outputs."""


class QuantisedReader:
    """Reads codes and scales; of the maps themselves no more is in memory than a part of one layer."""

    def __init__(self, config: ModelConfig, read: ParamReader) -> None:
        """`read`: reads the maps."""
        self._arrays = by_path(abstract_params(config))
        self._maps = by_path(abstract_params(wide(config)))
        self._read = read
        self._last: tuple[str, dict[_Bounds, Quantised]] = "", {}

    def __call__(self, path: str, sharding: jax.sharding.Sharding) -> jax.Array:
        """The parameter with this path in the tree, in its shards. Raises as `ParamReader`.

        Codes and scales of a map are found together: ask for one after the other.
        """
        array, name = self._arrays[path], map_of(path)
        scales = self._arrays[name + SCALES].shape
        if self._last[0] != name:
            self._last = name, {}

        def at(index: Any) -> np.ndarray:
            bounds = [part.indices(size)[:2] for part, size in zip(index, array.shape, strict=True)]
            rows = array.shape[1] // scales[1]  # of a block
            bounds[1] = bounds[1][0] // rows, bounds[1][1] // rows
            return getattr(self._shard(name, tuple(bounds)), "codes" if path.endswith(CODES) else "scales")

        return jax.make_array_from_callback(array.shape, sharding, at)

    def on_host(self, path: str) -> LayersOnDisk:
        """The map with this path in float32, as its codes and scales say, whose layers are read when they are
        asked for. Raises as `ParamReader`."""
        shape, scales = self._maps[path].shape[1:], self._arrays[path + SCALES].shape[1:]
        bounds = tuple((0, size) for size in scales)

        def layer(number: int) -> np.ndarray:
            return np.asarray(dequantise(self._part(path, number, bounds))).reshape(shape)

        return LayersOnDisk(layer)

    def _shard(self, name: str, bounds: _Bounds) -> Quantised:
        """A part of a map of several layers, quantised once for all devices that hold copies."""
        found = self._last[1]
        if bounds not in found:
            (first, end), *inner = bounds
            layers = [self._part(name, layer, tuple(inner)) for layer in range(first, end)]
            found[bounds] = Quantised(*(np.stack(parts) for parts in zip(*layers, strict=True)))
        return found[bounds]

    def _part(self, name: str, layer: int, bounds: _Bounds) -> Quantised:
        """Some blocks of a layer's map, read with whole rows of its first dimension and cut to them."""
        (first, end), *outputs = bounds
        shape = self._maps[name].shape[1:]
        inner = shape[1 : len(shape) - len(outputs)]
        size = math.prod(inner)
        begin, stop = first * BLOCK // size, -(-end * BLOCK // size)
        index = (
            slice(begin, stop),
            *(slice(0, each) for each in inner),
            *(slice(*each) for each in outputs),
        )
        part = self._read.layer(name, layer, index)
        inputs = part.reshape(-1, *part.shape[1 + len(inner) :])
        return _quantised(inputs[first * BLOCK - begin * size : end * BLOCK - begin * size])


def _quantised(weight: np.ndarray) -> Quantised:
    """As `quantise`, block after block, which stay in the processor's cache."""
    blocks = (quantise(block) for block in weight.reshape(-1, BLOCK, *weight.shape[1:]))
    return Quantised(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
