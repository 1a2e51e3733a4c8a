"""Run by test_attention on eight devices: blocks, and the splash kernel on each device's share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding

from im_jax.models.attention import blocks, full, splash
from im_jax.models.attention.per_device import per_device
from im_jax.models.attention.spec import AttentionSpec
from im_jax.models.sharding import ShardingRules

RULES = ShardingRules()
MESH = jax.make_mesh((2, 2, 2), ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def check(attend: functools.partial[jax.Array]) -> None:
    """Values and gradients over the mesh equal those of one device with all scores."""
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=(4, 40, heads, 8)), jnp.float32) for heads in (4, 2, 2)]
    segments = jnp.asarray(np.repeat([1, 2, 0], (13, 20, 7)))[None].repeat(4, 0)

    def loss(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(per_device(attend, query, key, value, segments, RULES)))

    def reference(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(full.attend(query, key, value, segments, spec=AttentionSpec())))

    single = jax.jit(jax.value_and_grad(reference, (0, 1, 2)))(*arrays, segments)
    heads = NamedSharding(MESH, RULES.spec(("batch", "length", "heads", "head_dim")))
    rows = NamedSharding(MESH, RULES.spec(("batch", "length")))
    with jax.set_mesh(MESH):
        spread = *(jax.device_put(x, heads) for x in arrays), jax.device_put(segments, rows)
        sharded = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*spread)
    assert sharded[1][0].sharding.shard_shape(arrays[0].shape) == (1, 40, 2, 8)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), sharded, single)


if __name__ == "__main__":
    check(functools.partial(splash.attend, spec=AttentionSpec(), interpret=True))
    check(functools.partial(blocks.attend, spec=AttentionSpec()))
    print(f"same on {jax.device_count()} devices")
