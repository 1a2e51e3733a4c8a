"""The lookup of token embeddings."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping as jt

from im_jax.models.sharding import ShardingRules, constrain


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def look_up(
    table: jt.Float[jax.Array, "V D"],
    tokens: jt.Int[jax.Array, "B L"],
    dtype: str,
    rules: ShardingRules,
) -> jt.Float[jax.Array, "B L D"]:
    """`table[tokens]` in another type, whose gradients add up in float32.

    A frequent token has its row read thousands of times in a batch: added up in bfloat16, most of that would
    be rounded away.
    """
    # Narrowed, then gathered over fsdp: half the bytes travel, and the lookup is local to a shard.
    narrow = constrain(table.astype(dtype), ("vocab", "act_embed"), rules)
    return narrow[tokens]


def _forward(
    table: jax.Array, tokens: jax.Array, dtype: str, rules: ShardingRules
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # Of the table only shape and type are wanted; an array of no size carries them.
    return look_up(table, tokens, dtype, rules), (tokens, jnp.zeros((table.shape[0], 0), table.dtype))


def _backward(
    dtype: str, rules: ShardingRules, saved: tuple[jax.Array, jax.Array], d_rows: jax.Array
) -> tuple[jax.Array, None]:
    del dtype
    tokens, like = saved
    zeros = jnp.zeros((like.shape[0], d_rows.shape[-1]), jnp.float32)
    d_table = constrain(zeros.at[tokens].add(d_rows.astype(jnp.float32)), ("vocab", "act_embed"), rules)
    return d_table.astype(like.dtype), None


look_up.defvjp(_forward, _backward)
