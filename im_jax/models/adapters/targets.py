"""Which maps of the layers an adapter changes."""

from typing import Final

from im_jax.config import LoraConfig

ALL: Final = "all-linear"
MAPS: Final = ("query", "key", "value", "output", "gate", "up", "down")
"""Names of all maps that layers may have."""


def is_target(lora: LoraConfig, name: str) -> bool:
    """Whether a map has an adapter. `lora.targets` must be resolved: all, or names of maps."""
    return bool(lora.rank) and name in MAPS and (lora.targets == ALL or name in lora.targets.split(","))
