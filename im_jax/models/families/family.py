"""What a family of models is: the choices that it makes of the decoder's, and how its files are laid out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from im_jax.config import ModelConfig
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout


@dataclasses.dataclass(frozen=True)
class Family:
    """All that the package knows about the Hugging Face checkpoints of one architecture."""

    architecture: str
    """The class of transformers, as config.json names it."""
    model_type: str
    """transformers' short name, also in config.json."""
    choices: Mapping[str, Any]
    """Fields of `ModelConfig` that are alike in all models of the family."""
    layout: Layout
    """Where each parameter is in the files; `embedding` and `head` must be there, as `v d` both."""
    prefix: str
    """Of all tensors but the head. Files that were saved from the bare model lack it."""
    read: Callable[[Keys], dict[str, Any]]
    """config.json -> the other fields of `ModelConfig`; a missing key means what it means to transformers."""
    write: Callable[[ModelConfig], dict[str, Any]]
    """The keys of config.json but for those that all families share."""
    misfit: Callable[[ModelConfig], str | None] = lambda _: None
    """What of a model with these choices its files have no place for, beside the choices; None if nothing."""
    ignored: tuple[str, ...] = ()
    """Patterns (of `fnmatch`) of tensors that say nothing new, such as masks and rotary angles."""

    def fields(self, keys: Keys) -> dict[str, Any]:
        """The architecture that a config.json describes, as fields of `ModelConfig`.

        Raises:
            CheckpointError: a key has a value that cannot be, or asks for what the decoder does not have.
        """
        keys.only(quantization_config=None)
        return {**self.choices, **self.read(keys)}

    def why_not(self, config: ModelConfig) -> str | None:
        """Why this family's files cannot hold a model; None if they can."""
        for name, value in self.choices.items():
            if getattr(config, name) != value:
                return f"model.{name} is {getattr(config, name)!r}; it must be {value!r}"
        return self.misfit(config)

    def config_json(self, config: ModelConfig) -> dict[str, Any]:
        """config.json of a model that the family can hold."""
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            **self.write(config),
            "vocab_size": config.vocab_size,
            "tie_word_embeddings": config.tie_embeddings,
            "dtype": config.param_dtype,
            "torch_dtype": config.param_dtype,  # the name in transformers 4
        }
