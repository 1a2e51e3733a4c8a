"""One model that can be asked: parameters, and everything that is needed to use them."""

from dataclasses import dataclass

from jax.sharding import Mesh

from im_jax.config import ModelConfig
from im_jax.data.templates import Template
from im_jax.data.tokenizers import Tokenizer
from im_jax.models.decoder import Params
from im_jax.models.sharding import ShardingRules


@dataclass(frozen=True)
class Model:
    """A decoder with its tokenizer and template, on its devices."""

    params: Params
    config: ModelConfig
    tokenizer: Tokenizer
    template: Template | None
    """How conversations are written; None: the model only continues text."""
    mesh: Mesh
    rules: ShardingRules
