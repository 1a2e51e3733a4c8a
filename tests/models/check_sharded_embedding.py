"""Run by test_embedding on eight devices: rows of a table whose columns are split, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from im_jax.models.embedding import look_up
from im_jax.models.sharding import ShardingRules
from tests.hlo import buffers

RULES = ShardingRules()


def mesh_of(*shape: int) -> Mesh:
    return jax.make_mesh(shape, ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def check(mesh: Mesh, table_shape: tuple[int, int], rows: int, dtype: str) -> None:
    """Values to the bit, the gradient against float64, with tokens that are read hundreds of times."""
    rng = np.random.default_rng(sum(table_shape))
    table = rng.standard_normal(table_shape).astype(np.float32)
    tokens = np.where(rng.random((rows, 60)) < 0.5, 2, rng.integers(0, table_shape[0], (rows, 60)))
    tokens[0, :2] = 0, table_shape[0] - 1
    d_rows = jnp.asarray(rng.uniform(0.5, 1.5, (rows, 60, table_shape[1])), dtype)

    @jax.jit
    def run(table: jax.Array, tokens: jax.Array, d_rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        found, pull_back = jax.vjp(lambda table: look_up(table, tokens, dtype, RULES), table)
        return found, pull_back(d_rows)[0]

    with jax.set_mesh(mesh):
        sizes = zip(("vocab", "embed"), table_shape, strict=True)
        parts = {"vocab": mesh.shape["tensor"], "embed": mesh.shape["fsdp"]}
        axes = [axis if size % parts[axis] == 0 else "norm" for axis, size in sizes]
        placed = jax.device_put(table, NamedSharding(mesh, RULES.spec(axes)))
        found, d_table = run(placed, jnp.asarray(tokens), d_rows)
    assert np.array_equal(found, jnp.asarray(table, dtype)[tokens])
    expected = np.zeros(table_shape)
    np.add.at(expected, tokens, np.asarray(d_rows.astype(jnp.float32), np.float64))
    np.testing.assert_allclose(d_table, expected, rtol=1e-5)
    print(f"{dict(mesh.shape)} {table_shape} {rows} rows of {dtype}: equal")


def check_no_device_holds_a_table() -> None:
    """Neither all columns of it nor of its gradient."""
    mesh = mesh_of(1, 8, 1)
    kept = NamedSharding(mesh, RULES.spec(("vocab", "embed")))
    table = jax.ShapeDtypeStruct((96, 64), jnp.float32, sharding=kept)
    tokens = jax.ShapeDtypeStruct((8, 24), jnp.int32, sharding=NamedSharding(mesh, RULES.spec(("batch",))))

    def loss(table: jax.Array, tokens: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(look_up(table, tokens, "float32", RULES)))

    with jax.set_mesh(mesh):
        step = jax.jit(jax.grad(loss), out_shardings=kept)
        program = step.lower(table, tokens).compile().as_text()
    assert (96, 8) in buffers(program, "f32") and (96, 64) not in buffers(program, "f32")
    print("no device holds a table")


if __name__ == "__main__":
    for shape in ((1, 8, 1), (2, 4, 1), (2, 2, 2), (1, 4, 2), (8, 1, 1)):
        check(mesh_of(*shape), (96, 64), 8, "float32")
    check(mesh_of(2, 2, 2), (96, 64), 8, "bfloat16")
    check(mesh_of(1, 8, 1), (96, 60), 8, "float32")  # columns that do not divide
    check(mesh_of(1, 4, 2), (97, 64), 8, "float32")  # nor do the rows of the table
    check(mesh_of(1, 8, 1), (96, 64), 3, "float32")  # nor those of the batch
    check_no_device_holds_a_table()
