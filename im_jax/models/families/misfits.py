"""What files of several families have no place for: each gives the reason, or None where all is well."""

from im_jax.config import ModelConfig
from im_jax.models.sizes import head_dim


def without_groups(config: ModelConfig) -> str | None:
    """Files that know heads by their number alone, which share out the width."""
    if config.num_kv_heads != config.num_heads:
        return f"model.num_kv_heads is {config.num_kv_heads}; it must be model.num_heads, {config.num_heads}"
    return heads_share_width(config)


def heads_share_width(config: ModelConfig) -> str | None:
    """Files without a size of heads."""
    if head_dim(config) * config.num_heads != config.embed_dim:
        return f"model.head_dim is {config.head_dim}; it must be model.embed_dim / model.num_heads"
    return None


def attention_biases_alone(config: ModelConfig) -> str | None:
    """Files that say of biases whether attention has them."""
    return _biases(config, "none", "attention")


def all_attention_biases(config: ModelConfig) -> str | None:
    """Files that say it of attention and of the feed-forward: all maps of each, or none."""
    return _biases(config, "none", "attention", "all")


def _biases(config: ModelConfig, *choices: str) -> str | None:
    if config.biases in choices:
        return None
    return f"model.biases is {config.biases!r}; it must be {', '.join(choices[:-1])} or {choices[-1]}"
