"""Sizes that follow from a configuration."""

from im_jax.config import ModelConfig
from im_jax.errors import ConfigError


def head_dim(config: ModelConfig) -> int:
    """Size of one head: as configured, else the model dimension shared out; even if positions are rotary."""
    size = config.head_dim
    if size is None:
        if config.embed_dim % config.num_heads:
            raise ConfigError(
                f"model.embed_dim {config.embed_dim} is not a multiple of model.num_heads "
                f"{config.num_heads}; change one of them or set model.head_dim"
            )
        size = config.embed_dim // config.num_heads
    if size % 2 and config.positions == "rotary":
        raise ConfigError(f"model.head_dim {size} is odd; rotary positions turn pairs, so make it even")
    return size
