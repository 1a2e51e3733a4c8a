"""What of `model.lora` follows from the model and from a folder of PEFT's."""

import sys

import jax

from im_jax.config import ModelConfig
from im_jax.console import print_text
from im_jax.models.adapters.naming import resolve_targets
from im_jax.models.adapters.peft.reading import with_adapter_of


def resolve_adapter(model: ModelConfig) -> ModelConfig:
    """The model with `lora.targets` as names of its maps, and what `lora.path` decides filled in.

    Args:
        model: as `resolve_model` returned it.

    Raises:
        ConfigError: `lora.targets` names no maps.
        CheckpointError: the adapter cannot be read, is more than LoRA, or does not fit the model.
    """
    if not model.lora.path:
        return resolve_targets(model)
    resolved, note = with_adapter_of(model.lora.path, model)
    if note and jax.process_index() == 0:
        print_text(f"note: {note}", sys.stderr)
    return resolved
