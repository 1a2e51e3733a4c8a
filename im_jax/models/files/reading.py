"""Parameters out of a checkpoint, in the types that the model keeps them in."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from im_jax.config import ModelConfig
from im_jax.models.decoder import Params, abstract_params
from im_jax.models.files.layout import LayersOnDisk, Layout, ParamReader, by_path, dotted
from im_jax.models.files.quantised import QuantisedReader
from im_jax.models.files.tensors import Tensors
from im_jax.models.quantised.maps import is_quantised, map_of


def read_params(layout: Layout, config: ModelConfig, shardings: Any, tensors: Tensors) -> Params:
    """Parameters from a checkpoint, all or some of them, straight into their shards.

    Parts are read for the shards of this process's devices only, once for each distinct shard.

    Args:
        layout: names and shapes of the tensors.
        config: the model; its types are what values are converted to.
        shardings: pytree of `jax.sharding.Sharding`, like the tree of parameters or a part of it.
        tensors: what the files hold, checked.

    Raises:
        CheckpointError: a tensor holds NaN or infinity.
    """
    whole = ParamReader(layout, config, tensors)
    quantised = QuantisedReader(config, whole)

    def read(path: Any, sharding: jax.sharding.Sharding) -> jax.Array:
        name = dotted(path)
        return (quantised if is_quantised(name) else whole)(name, sharding)

    return jax.tree_util.tree_map_with_path(read, shardings)


def reader_on_host(config: ModelConfig, whole: ParamReader) -> Callable[[str], np.ndarray | LayersOnDisk]:
    """Gives each parameter as files have it, by its path in the tree; a map in NF4 as its codes say.

    Args:
        config: the model, without an adapter.
        whole: reads its checkpoint.
    """
    quantised = QuantisedReader(config, whole)
    narrow = {map_of(path) for path in by_path(abstract_params(config)) if is_quantised(path)}
    return lambda path: quantised.on_host(path) if path in narrow else whole.on_host(path)
