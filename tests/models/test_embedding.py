"""The lookup of embeddings, and gradients of tokens that are read very often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.models.embedding import look_up
from im_jax.models.sharding import ShardingRules
from tests.subprocess_devices import run_on_devices


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("table_dtype", ["float32", "bfloat16"])
def test_gradients_of_frequent_tokens_are_not_rounded_away(dtype: str, table_dtype: str) -> None:
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.standard_normal((7, 5)), table_dtype)
    tokens = jnp.asarray(rng.integers(0, 3, (8, 1000)))
    d_rows = jnp.asarray(rng.uniform(0.5, 1.5, (8, 1000, 5)), dtype)

    @jax.jit
    def run(table: jax.Array, d_rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows, pull_back = jax.vjp(lambda table: look_up(table, tokens, dtype, ShardingRules()), table)
        return rows, pull_back(d_rows)[0]

    rows, d_table = run(table, d_rows)
    assert rows.dtype == dtype and d_table.dtype == table_dtype
    assert np.array_equal(rows, table.astype(dtype)[tokens])
    expected = np.zeros((7, 5))
    np.add.at(expected, np.asarray(tokens), np.asarray(d_rows, np.float64))
    # Sums of 2,700 numbers one after the other: sqrt(2700) roundings of 2^-24, five times; or one of 2^-8.
    tolerance = 1.6e-5 if table_dtype == "float32" else 2**-8
    np.testing.assert_allclose(np.asarray(d_table, np.float64), expected, rtol=tolerance)


def test_a_table_in_parts_gives_the_same_and_is_never_whole() -> None:
    output = run_on_devices("tests.models.check_sharded_embedding")
    assert output.count("equal") == 9 and "no device holds a table" in output, output
