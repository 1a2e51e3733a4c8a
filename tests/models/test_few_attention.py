"""Attention of some queries against float64 NumPy, in which the others have no gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im_jax.models.attention import few
from tests.models.test_attention import CASES, LONG, SIZE, Case, arrays, exact


def of_some(case: Case, needed: np.ndarray, capacity: int, block: int) -> tuple[list, list]:
    """Results and gradients of the needed tokens' queries, and the exact ones."""
    values, segments = arrays(case)
    values[3] = jnp.where(needed[..., None, None], values[3], 0)
    tokens = needed.size
    order = np.full(capacity, tokens)
    order[: needed.sum()] = np.flatnonzero(needed)

    @jax.jit
    def run(query: jax.Array, key: jax.Array, value: jax.Array, d_mixed: jax.Array, order: jax.Array) -> list:
        def of_arrays(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
            return few.attend(
                query, key, value, jnp.asarray(segments), order[None], spec=case.spec, block=block
            )

        def taken(x: jax.Array) -> jax.Array:
            return x.reshape(tokens, *x.shape[2:]).at[order].get(mode="clip")[None]

        mixed, pull = jax.vjp(of_arrays, taken(query), key, value)
        # Behind the last, queries and gradients hold something: it must not matter.
        d_query, d_key, d_value = pull(taken(d_mixed))
        return [mixed[0], d_query[0], d_key, d_value]

    found = [np.asarray(x) for x in run(*values, jnp.asarray(order))]
    mixed, d_query, d_key, d_value = exact(values, segments, case.spec)
    count = needed.sum()
    assert not np.any(found[0][count:]) and not np.any(found[1][count:])
    return [found[0][:count], found[1][:count], *found[2:]], [mixed[needed], d_query[needed], d_key, d_value]


@pytest.mark.parametrize("block", [1, 4, 64])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("case", [*CASES.values(), LONG], ids=[*CASES, "long"])
def test_some_queries_equal_float64(case: Case, share: float, block: int) -> None:
    shape = (len(case.examples), case.length)
    needed = np.random.default_rng(3).random(shape) < share
    found, expected = of_some(case, needed, capacity=needed.size, block=block)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * max(1, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("capacity", [9, 10, 14])
def test_rows_without_queries_and_blocks_that_end_with_the_array(capacity: int) -> None:
    """The second row has none, and the last row's second block reaches past the last place."""
    case = CASES["packed"]
    needed = np.zeros((3, case.length), bool)
    needed[0, [0, 4, 5]] = needed[2, [1, 2, 9, 10, 11, 20]] = True
    for a, b in zip(*of_some(case, needed, capacity, block=4), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * np.abs(b).max())


def test_bfloat16_is_off_by_its_rounding() -> None:
    values, segments = arrays(CASES["grouped"], jnp.bfloat16)
    query, key, value = values[:3]
    order = jnp.arange(segments.size)[None]
    attend = functools.partial(few.attend, spec=CASES["grouped"].spec)
    mixed = attend(query.reshape(1, -1, *query.shape[2:]), key, value, jnp.asarray(segments), order)
    assert mixed.dtype == jnp.bfloat16
    expected = exact(values, segments, CASES["grouped"].spec)[0].reshape(-1, 4, SIZE)
    np.testing.assert_allclose(
        mixed[0].astype(jnp.float32), expected, rtol=0, atol=2e-2 * np.abs(expected).max()
    )
