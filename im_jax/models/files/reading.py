"""Parameters out of a checkpoint, in the types that the model keeps them in."""

from typing import Any

import jax

from im_jax.config import ModelConfig
from im_jax.models.decoder import Params
from im_jax.models.files.layout import Layout, ParamReader, dotted
from im_jax.models.files.quantised import QuantisedReader
from im_jax.models.files.tensors import Tensors
from im_jax.models.quantised.maps import is_quantised


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
