"""Run by test_parts on eight devices: a feed-forward in parts, and whole, on meshes."""

import jax
import numpy as np
from jax.sharding import AxisType

from im_jax.models.mlp import FeedForward
from im_jax.models.sharding import ShardingRules
from tests.models.test_parts import COUNT, differences, feed_forward

if __name__ == "__main__":
    for shape in ((1, 8, 1), (2, 2, 2), (8, 1, 1), (1, 4, 2)):
        mesh = jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
        for name, biases in (("swiglu", "none"), ("gelu", "all")):
            layer: FeedForward = feed_forward(name, biases, ShardingRules())
            with jax.set_mesh(mesh):
                errors = differences(layer, COUNT)
            assert max(errors) < 2e-6, (shape, name, errors)
            assert np.all(np.isfinite(errors))
        print(f"{shape}: equal")
