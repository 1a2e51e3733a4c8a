"""What a decoder has and does, counted: parameters, and operations of a training step."""

import math
from collections.abc import Callable

import jax
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.models.decoder import abstract_decoder, abstract_params
from im_jax.models.quantised.maps import wide
from im_jax.models.sizes import head_dim


def num_params(config: ModelConfig) -> int:
    """Number of parameters; a tied head counts once, a weight once in however many bits it is kept."""
    return sum(math.prod(array.shape) for array in jax.tree.leaves(abstract_params(wide(config))))


def flops_per_token(
    config: ModelConfig, length: int, is_trained: Callable[[str], bool] = lambda path: True
) -> int:
    """Floating-point operations per token of one training step, matrix products only.

    PaLM's count (arXiv:2204.02311, appendix B): 6 for each weight that a token is multiplied with (2
    forward, 4 backward; the head counts, tied or not, the embedding lookup does not), and 12 * layers *
    heads * head_dim * length for attention over all `length` keys, masked or not. A weight that is not
    trained has no gradient, and costs 4. Recomputation by `remat` is not counted.

    Args:
        config: the decoder.
        length: of a row.
        is_trained: asked with the path of each parameter, such as `layers.attention.query`.
    """
    counts = {
        ".".join(map(str, path)): math.prod(param.shape)
        for path, param in nnx.to_flat_state(nnx.state(abstract_decoder(wide(config))))
        if path[0] == "layers" and "num_inputs" in param.get_metadata()
    }
    # The embedding is of the head's size, and there whether or not they are tied.
    head = "embedding" if config.tie_embeddings else "head"
    counts[head] = math.prod(abstract_params(config)["embedding"].shape)
    weights = sum((6 if is_trained(path) else 4) * count for path, count in counts.items())
    return weights + 12 * config.num_layers * config.num_heads * head_dim(config) * length
