"""What a family of models is: the choices that it makes of the decoder's, and how its files are laid out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from im_jax.config import Config, ModelConfig, records
from im_jax.models.files.json_keys import Keys
from im_jax.models.files.layout import Layout

SIZES: Final = (
    *("vocab_size", "num_layers", "embed_dim", "num_heads", "num_kv_heads", "head_dim", "mlp_dim"),
    *("max_positions", "norm_eps", "tie_embeddings", "rope_theta", "rope_scaling", "family"),
)
"""Fields of `ModelConfig` that every config.json decides, whatever the family."""
_RECORDS: Final = records(Config)
USUAL: Final = {
    name: value
    for name, value in vars(ModelConfig()).items()
    if name not in SIZES and f"model.{name}" in _RECORDS and _RECORDS[f"model.{name}"].is_architecture
}
"""All other fields of the architecture, as they are where nothing is said: Llama's."""


@dataclasses.dataclass(frozen=True)
class Family:
    """All that the package knows about the Hugging Face checkpoints of one architecture."""

    architecture: str
    """The class of transformers, as config.json names it."""
    model_type: str
    """transformers' short name, also in config.json."""
    choices: Mapping[str, Any]
    """Fields of `ModelConfig` that are alike in all models of the family; others are as by default."""
    layout: Layout
    """Where each parameter is in the files; `embedding` and `head` must be there, as `v d` both."""
    prefix: str
    """Of all tensors but the head. Files that were saved from the bare model lack it."""
    read: Callable[[Keys], dict[str, Any]]
    """config.json -> the other fields of `ModelConfig`; a missing key means what it means to transformers."""
    write: Callable[[ModelConfig], dict[str, Any]]
    """The keys of config.json but for those that all families share."""
    free: tuple[str, ...] = ()
    """Fields, beside `SIZES`, that `read` gives: they differ between models of the family."""
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
        return {**USUAL, **self.choices, **self.read(keys), "family": self.architecture}

    def why_not(self, config: ModelConfig) -> str | None:
        """Why this family's files cannot hold a model; None if they can."""
        for name, value in {**USUAL, **self.choices}.items():
            if name not in self.free and getattr(config, name) != value:
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
            # Absent, they would be those of each class's first model, which may be no tokens of this one.
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
        }
