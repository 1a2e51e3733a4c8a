"""The last block and what is behind it, of all tokens or of those alone whose states are read.

Of a token without loss the last block has to give keys and values, which others see, and nothing else. So its
queries, the output of its attention and its feed-forward are computed for tokens with loss. This is exact, in
values and gradients: nothing reads the rest, and nothing flows back from there.
"""

from typing import Any, Final

import jax
import jaxtyping as jt
from flax import nnx

from im_jax.models.attention import few
from im_jax.models.attention.layer import Context
from im_jax.models.attention.per_device import per_device
from im_jax.models.block import HIDDEN_AXES, Block, rematerialised
from im_jax.models.finish import Finish
from im_jax.models.kinds import Kind
from im_jax.models.needed import Inputs, Needed, find, in_pools, on_needed
from im_jax.models.sharding import constrain

LEAST_PARAMETERS: Final = 2**18
"""Of a block that is large enough. Smaller ones take the time to start operations more than to do arithmetic,
and the loop over tokens starts more of them."""


def large_enough(blocks: Any, num_layers: int) -> bool:
    """Whether the last of these stacked blocks is large enough to compute few tokens of it apart."""
    return sum(x.size for x in jax.tree.leaves(blocks)) >= num_layers * LEAST_PARAMETERS


class LastBlock(nnx.Module):
    """A block, and what is made of its result."""

    def __init__(self, block: Block, finish: Finish, kind: Kind) -> None:
        self.block = block
        self.finish = finish
        self.kind = kind

    def __call__(
        self, x: jt.Float[jax.Array, "B L D"], context: Context, needed: jt.Bool[jax.Array, "B L"], remat: str
    ) -> jt.Float[jax.Array, "B L E"]:
        """Hidden states of the needed tokens; what stands at the others means nothing but is finite.

        Where more than `needed.MOST` of the tokens are needed, all are computed, as in any other block. Which
        of the two happens is data. Attention must be the implementation `blocks`.

        Args:
            x: hidden states before the block.
            context: of all tokens.
            needed: whose states are read.
            remat: what the backward pass recomputes.
        """
        graph, params = nnx.split(self)
        tokens = find(needed, self.block.rules)

        def of_all(
            params: Any, x: jax.Array, normed: jax.Array, key: jax.Array, value: jax.Array
        ) -> jax.Array:
            last: LastBlock = nnx.merge(graph, params)
            attention = last.block.attention
            query = attention.queries(normed, context.rotation(self.kind))
            return last.behind(x, attention.attend(query, key, value, context.segments, self.kind))

        def of_needed(
            params: Any, x: jax.Array, normed: jax.Array, key: jax.Array, value: jax.Array
        ) -> jax.Array:
            return _of_needed(graph, params, x, normed, key, value, context, tokens, self)

        def apply(params: Any, x: jax.Array) -> jax.Array:
            block = nnx.merge(graph, params).block
            x = constrain(x, HIDDEN_AXES, block.rules)
            normed = block.attention_input(x)
            key, value = block.attention.keys_and_values(normed, context.rotation(self.kind))
            return jax.lax.cond(tokens.few, of_needed, of_all, params, x, normed, key, value)

        return rematerialised(apply, remat)(params, x)

    def behind(self, x: jax.Array, mixed: jax.Array) -> jax.Array:
        """What is computed once queries have attended."""
        return self.finish(self.block.after_attention(x, mixed))


def _of_needed(
    graph: nnx.GraphDef[LastBlock],
    params: Any,
    x: jax.Array,
    normed: jax.Array,
    key: jax.Array,
    value: jax.Array,
    context: Context,
    tokens: Needed,
    like: LastBlock,
) -> jax.Array:
    def queries(params: Any, inputs: Inputs) -> jax.Array:
        return nnx.merge(graph, params).block.attention.queries(inputs.spread, inputs.data)

    def behind(params: Any, inputs: Inputs) -> jax.Array:
        return nnx.merge(graph, params).behind(inputs.spread, inputs.compact)

    def attend(query: jax.Array, key: jax.Array, value: jax.Array, where: Any) -> jax.Array:
        return few.attend(query, key, value, *where, spec=spec)

    rules, spec = like.block.rules, like.block.attention.spec(bool(like.kind.windowed))
    turning = context.rotation(like.kind)
    pooled_x, pooled, rotation = jax.tree.map(lambda y: in_pools(y, rules), (x, normed, turning))
    query = on_needed(queries, False, params, Inputs(spread=pooled, data=rotation), tokens)
    mixed = per_device(attend, query, key, value, (context.segments, tokens.order), rules)
    hidden = on_needed(behind, True, params, Inputs(spread=pooled_x, compact=mixed), tokens)
    return hidden.reshape(*x.shape[:2], -1)
