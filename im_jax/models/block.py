"""A block of the decoder, all of them stacked, and what their backward pass recomputes."""

from collections.abc import Callable
from typing import Any, Final

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.config import CHOICES, ModelConfig
from im_jax.devices import platform
from im_jax.errors import ConfigError
from im_jax.models.adapters.dropout import RowKeys
from im_jax.models.attention.layer import Attention, Context
from im_jax.models.cache import MaybeCache
from im_jax.models.kinds import Kind
from im_jax.models.layers import LayerNorm, RMSNorm, make_norm
from im_jax.models.mlp import make_mlp
from im_jax.models.projections import PRODUCT
from im_jax.models.sharding import ShardingRules, constrain

HIDDEN_AXES: Final = ("batch", "length", "act_embed")
"""Of hidden states, [B, L, D]."""
_KEPT_AXES: Final = ("batch", "kept_length", "act_embed")
"""Of hidden states between layers, which are what the backward pass keeps of each layer."""
_MOST_UNROLLED: Final = 8  # layers; compiling takes as much longer as there are


class Block(nnx.Module):
    """One layer: attention, then feed-forward, each added to the residual stream; norms where they belong."""

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs) -> None:
        if config.norm_places not in CHOICES["model.norm_places"]:
            known = ", ".join(CHOICES["model.norm_places"])
            raise ConfigError(f"model.norm_places is {config.norm_places!r}; it can be {known}")
        before = config.norm_places in ("before", "both")
        after = config.norm_places in ("after", "both")
        self.after_sum = config.norm_places == "after_sum"
        self.parallel = config.parallel
        if config.parallel and self.after_sum:
            raise ConfigError("model.parallel needs norms that are not after_sum; set model.norm_places")
        if before:
            self.attention_norm = make_norm(config)
        self.attention = Attention(config, rules, rngs=rngs)
        if after or self.after_sum:
            self.attention_norm_after = make_norm(config)
        if before:
            self.mlp_norm = make_norm(config)
        self.mlp = make_mlp(config, rules, rngs=rngs)
        if after or self.after_sum:
            self.mlp_norm_after = make_norm(config)
        self.rules = rules

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, kind: Kind, cache: MaybeCache
    ) -> tuple[jt.Float[jax.Array, "B L D"], MaybeCache]:
        if self.rules.parts("kept_length") > 1:
            # Whole here alone: it is kept in parts.
            x = constrain(constrain(x, self._kept_axes(x), self.rules), HIDDEN_AXES, self.rules)
        with jax.named_scope("attention"):
            mixed, cache = self.attention(self.attention_input(x), context, kind, cache)
        fed = self._fed_forward(x, mixed, context.drop)
        return constrain(fed, self._kept_axes(x), self.rules), cache

    def attention_input(self, x: jt.Float[jax.Array, "B L D"]) -> jt.Float[jax.Array, "B L D"]:
        """What queries, keys and values are made of."""
        return self._normed("attention_norm", x)

    def after_attention(
        self, x: jt.Float[jax.Array, "B L D"], mixed: jt.Float[jax.Array, "B L H K"]
    ) -> jt.Float[jax.Array, "B L D"]:
        """What the block makes of its input, once its queries have attended."""
        x = self._fed_forward(x, self.attention.project("output", mixed))
        return constrain(x, HIDDEN_AXES, self.rules)

    def _fed_forward(self, x: jax.Array, mixed: jax.Array, drop: RowKeys | None = None) -> jax.Array:
        if self.after_sum:
            x = self.attention_norm_after(constrain(x + mixed, HIDDEN_AXES, self.rules))
            with jax.named_scope("mlp"):
                return self.mlp_norm_after(x + self.mlp(x, drop))
        mixed = self._normed("attention_norm_after", mixed)
        summed = constrain(x + mixed, HIDDEN_AXES, self.rules)
        with jax.named_scope("mlp"):
            inner = self.mlp(self._normed("mlp_norm", x if self.parallel else summed), drop)
        return summed + self._normed("mlp_norm_after", inner)

    def _normed(self, name: str, x: jax.Array) -> jax.Array:
        """Through the norm of that name, where there is one."""
        norm: RMSNorm | LayerNorm | None = getattr(self, name, None)
        return x if norm is None else norm(x)

    def _kept_axes(self, x: jax.Array) -> tuple[str, ...]:
        return HIDDEN_AXES if x.shape[1] % self.rules.parts("kept_length") else _KEPT_AXES


def stacked_blocks(config: ModelConfig, rules: ShardingRules, rngs: nnx.Rngs) -> Block:
    """All blocks as one, every parameter with a leading `layers` axis."""

    @nnx.split_rngs(splits=config.num_layers)
    @nnx.vmap
    def make(rngs: nnx.Rngs) -> Block:
        return Block(config, rules, rngs=rngs)

    return make(rngs)


def rematerialised(layer: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """The layer with what its backward pass recomputes. `dots` keeps products with weights only, for
    attention's own product is what makes memory grow with the square of the length."""
    match policy:
        case "none":
            return layer
        case "full":
            return jax.checkpoint(layer, prevent_cse=False)
        case "dots":
            keep = jax.checkpoint_policies.save_only_these_names(PRODUCT)
            return jax.checkpoint(layer, prevent_cse=False, policy=keep)
        case _:
            raise ConfigError(f"model.remat is {policy!r}; it can be none, full or dots")


def unroll(num_layers: int) -> int:
    """Layers in one trip of the scan: all of a small model that trains on a CPU.

    A scan writes what the backward pass needs into arrays stacked over layers, which a CPU first fills with
    zeros; for two cores that was a tenth of a step.
    """
    return num_layers if num_layers <= _MOST_UNROLLED and platform() == "cpu" else 1
