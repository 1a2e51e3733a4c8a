"""Models of text and images, of which the text model is read: it stands in them under other names."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from im_jax.errors import CheckpointError
from im_jax.models.families.family import Family
from im_jax.models.families.gemma import GEMMA3
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.tensors import Tensor

_TEXT: Final = "text_config"


@dataclass(frozen=True)
class Multimodal:
    """Where a text model is in the files of an architecture that has more."""

    architecture: str
    """The class of transformers, as config.json names it."""
    model_type: str
    text: Family
    """Of the text model, as which it is written again."""
    sizes: Mapping[str, int]
    """Keys that files of the text model alone must have, as they are where `text_config` lacks them."""
    prefixes: Mapping[str, str]
    """Of tensors of the text model, and what stands there in files of it alone."""
    left_out: tuple[str, ...]
    """Patterns (of `fnmatch`) of all other tensors."""

    def text_keys(self, keys: Keys) -> Keys:
        """config.json of the text model.

        Raises:
            CheckpointError: it is quantised, or its text model is of another family.
        """
        keys.only(quantization_config=None)
        text = keys.section(_TEXT) or Keys({}, f"{keys.where}{_TEXT}.")
        text.only(model_type=self.text.model_type)
        tied = {name: keys.values[name] for name in ("tie_word_embeddings",) if name in keys.values}
        return Keys({**self.sizes, **text.values, **tied}, text.where)

    def text_tensors(self, found: Mapping[str, Tensor], where: Any) -> tuple[dict[str, Tensor], str]:
        """Tensors of the text model by the names in files of it alone, and a line on what is left out.

        Raises:
            CheckpointError: the text model stands there twice.
        """
        tensors: dict[str, Tensor] = {}
        others = 0
        for name, tensor in found.items():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.left_out):
                others += 1
                continue
            own = self._own_name(name)
            if own in tensors:
                raise CheckpointError(f"{where}: {own} stands there under two names, one of them {name}")
            tensors[own] = tensor
        return tensors, (
            f"{where}: of {self.architecture} the text model is read; {others} tensors of other parts are "
            "left out"
        )

    def _own_name(self, name: str) -> str:
        for prefix, own in self.prefixes.items():
            if name.startswith(prefix):
                return own + name.removeprefix(prefix)
        return name


GEMMA3_WITH_IMAGES: Final = Multimodal(
    architecture="Gemma3ForConditionalGeneration",
    model_type="gemma3",
    text=GEMMA3,
    sizes={
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
    },
    prefixes={
        "language_model.model.": "model.",
        "language_model.lm_head.": "lm_head.",
        "model.language_model.": "model.",  # as transformers 5 has it in memory
    },
    left_out=(
        *("vision_tower.*", "multi_modal_projector.*"),
        *("model.vision_tower.*", "model.multi_modal_projector.*"),
    ),
)
MULTIMODAL: Final = (GEMMA3_WITH_IMAGES,)


def multimodal_of(keys: Keys) -> Multimodal | None:
    """The architecture that a config.json names, if it has a text model in it; None for one of text alone.

    Raises:
        CheckpointError: it has one that is not read.
    """
    names = keys.values.get("architectures")
    for one in MULTIMODAL:
        if names == [one.architecture] or (names is None and keys.values.get("model_type") == one.model_type):
            return one
    if isinstance(keys.values.get(_TEXT), dict):
        known = " and ".join(one.architecture for one in MULTIMODAL)
        raise keys.fail(
            "model_type" if names is None else "architectures",
            f"that of a text model: this one has a text model in it, which is read of {known} only; choose a "
            "checkpoint of the text model alone",
        )
    return None
