"""Run by test_dense on eight devices: products with weights of which each device keeps a part."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from im_jax.models.dense import dense_on_mesh
from im_jax.models.sharding import ShardingRules
from im_jax.models.weight_layout import weight_layout
from tests.jaxpr import equations

MAPS = [
    ({"embed": 16}, {"heads": 4, "head_dim": 6}),
    ({"embed": 16}, {"mlp": 40}),
    ({"heads": 4, "head_dim": 6}, {"embed": 16}),
    ({"mlp": 40}, {"embed": 16}),
]
TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2}


def check(shape: tuple[int, int, int], dtype: str, reduce_dtype: str) -> None:
    """Two maps at once, forward and backward, against float64."""
    mesh = jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    rules, rng = ShardingRules(reduce_dtype=reduce_dtype), np.random.default_rng(0)
    for inputs, outputs in MAPS:
        count = len(inputs)
        x = jnp.asarray(rng.standard_normal((8, 5, *inputs.values())), dtype)
        weights = [rng.standard_normal((*inputs.values(), *outputs.values())) for _ in range(2)]
        gradients = [jnp.asarray(rng.standard_normal((8, 5, *outputs.values())), dtype) for _ in range(2)]

        @jax.jit
        def run(x: jax.Array, weights: tuple[jax.Array, ...], gradients: tuple[jax.Array, ...]):
            layout = weight_layout(tuple(inputs), tuple(outputs), rules, rows=x.shape[0])  # noqa: B023
            assert layout is not None
            y, pull_back = jax.vjp(lambda x, weights: dense_on_mesh(x, weights, (layout, layout)), x, weights)
            return y, *pull_back(gradients)

        with jax.set_mesh(mesh):
            kept = NamedSharding(mesh, rules.spec((*inputs, *outputs)))
            placed = tuple(jax.device_put(weight.astype(np.float32), kept) for weight in weights)
            by_row = NamedSharding(mesh, PartitionSpec(("replica", "fsdp")))
            y, d_x, d_weights = run(jax.device_put(x, by_row), placed, tuple(gradients))
        assert all(d_weight.sharding.is_equivalent_to(kept, d_weight.ndim) for d_weight in d_weights)

        wide_x, *wide_dy = (np.asarray(each.astype(jnp.float32), np.float64) for each in (x, *gradients))
        wide = [np.asarray(jnp.asarray(weight, dtype).astype(jnp.float32), np.float64) for weight in weights]
        expected_x = sum(
            np.tensordot(dy, weight, (range(2, dy.ndim), range(count, weight.ndim)))
            for dy, weight in zip(wide_dy, wide, strict=True)
        )
        narrowest = "bfloat16" if "bfloat16" in (dtype, reduce_dtype) else "float32"
        pairs = [(d_x, expected_x, dtype)]
        for found, d_weight, weight, dy in zip(y, d_weights, wide, wide_dy, strict=True):
            pairs.append((found, np.tensordot(wide_x, weight, count), dtype))
            pairs.append((d_weight, np.tensordot(wide_x, dy, ((0, 1), (0, 1))), narrowest))
        for found, expected, type_ in pairs:
            error = np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)
            assert error < TOLERANCE[type_], (shape, inputs, error)
    print(f"{shape}, {dtype}, summed in {reduce_dtype}: equal")


def check_type_of_sums() -> None:
    """What is sent is what was asked for, whatever the types of weights and rows."""
    mesh = jax.make_mesh((2, 4, 1), ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    for reduce_dtype in ("float32", "bfloat16"):
        rules = ShardingRules(reduce_dtype=reduce_dtype)

        def loss(x: jax.Array, weight: jax.Array) -> jax.Array:
            layout = weight_layout(("embed",), ("mlp",), rules, rows=x.shape[0])  # noqa: B023
            assert layout is not None
            return jnp.sum(dense_on_mesh(x, (weight,), (layout,))[0].astype(jnp.float32))

        with jax.set_mesh(mesh):
            traced = jax.make_jaxpr(jax.grad(loss, argnums=1))(
                jnp.ones((8, 3, 16), jnp.bfloat16), jnp.ones((16, 8))
            )
        sums = {
            (equation.primitive.name, str(equation.invars[0].aval.dtype))
            for equation, _ in equations(traced.jaxpr)
            if equation.primitive.name in ("reduce_scatter", "psum", "psum_invariant")
        }
        assert {dtype for _, dtype in sums} == {reduce_dtype} and len(sums) == 2, sums
    print("type of sums: as asked")


if __name__ == "__main__":
    for shape in ((1, 8, 1), (2, 2, 2), (8, 1, 1), (1, 4, 2)):
        check(shape, "float32", "float32")
    check((2, 2, 2), "bfloat16", "float32")
    check((2, 2, 2), "float32", "bfloat16")
    check_type_of_sums()
