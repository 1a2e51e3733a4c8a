"""What is made of the last block's result: the final norm, and the map to the width of the head."""

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import ModelConfig
from im_jax.models.projections import Projections
from im_jax.models.sharding import ShardingRules


class WidthMaps(Projections):
    """Maps from the width of the embedding to the model dimension, and back for the head (OPT 350m)."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        assert config.embedding_width is not None
        outer, inner = {"embedding_width": config.embedding_width}, {"embed": config.embed_dim}
        self.add_map("into", outer, inner, config, rngs)
        self.add_map("out", inner, outer, config, rngs)
        self.rules = rules


class Finish(nnx.Module):
    """Norm and map, of which a model may lack either; none of its parameters is its own."""

    def __init__(self, norm: nnx.Module | None, maps: WidthMaps | None) -> None:
        self.norm = norm
        self.maps = maps

    def __call__(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L E"]:
        x = x if self.norm is None else self.norm(x)
        return x if self.maps is None else self.maps.project("out", x)
