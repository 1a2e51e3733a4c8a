"""Families of models, each in a file of its own: what a checkpoint's config.json and tensors mean."""

from pathlib import Path

from im_jax.config import ModelConfig
from im_jax.errors import CheckpointError
from im_jax.models.families.family import Family
from im_jax.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from im_jax.models.families.gpt2 import GPT2
from im_jax.models.families.llama import LLAMA
from im_jax.models.families.mistral import MISTRAL
from im_jax.models.families.neox import NEOX
from im_jax.models.families.olmo import OLMO2, OLMO3
from im_jax.models.families.opt import OPT
from im_jax.models.families.phi3 import PHI3
from im_jax.models.families.qwen import QWEN2, QWEN3
from im_jax.models.families.smollm3 import SMOLLM3
from im_jax.models.files.json_keys import Keys

FAMILIES: tuple[Family, ...] = (
    LLAMA,
    MISTRAL,
    SMOLLM3,
    QWEN2,
    QWEN3,
    GEMMA,
    GEMMA2,
    GEMMA3,
    PHI3,
    OLMO2,
    OLMO3,
    GPT2,
    OPT,
    NEOX,
)
"""All of them. A model is written as the first one that can hold it."""


def family_of(keys: Keys) -> Family:
    """The family that a config.json names: by `architectures`, or where that is missing by `model_type`.

    Raises:
        CheckpointError: it names none that is supported.
    """
    names = keys.values.get("architectures")
    if names is None:
        kind = keys.choice("model_type", *(family.model_type for family in FAMILIES))
        return next(family for family in FAMILIES if family.model_type == kind)
    for family in FAMILIES:
        if names == [family.architecture]:
            return family
    known = ", ".join(family.architecture for family in FAMILIES)
    raise keys.fail("architectures", f"a list with one that is supported: {known}")


def family_for(config: ModelConfig, where: str | Path) -> Family:
    """The family whose files hold such a model: that of `model.family`, else the first that can.

    Raises:
        CheckpointError: none has a place for all of it; says what is in the way.
    """
    reasons = []
    wanted = [family for family in FAMILIES if config.family in (family.architecture, "")]
    if not wanted:
        known = ", ".join(family.architecture for family in FAMILIES)
        raise CheckpointError(f"{where}: model.family is {config.family!r}; it can be {known}")
    for family in wanted:
        reason = family.why_not(config)
        if reason is None:
            return family
        reasons.append(f"for {family.architecture}, {reason}")
    raise CheckpointError(f"{where}: no architecture has all parts of this model; {'; '.join(reasons)}")
