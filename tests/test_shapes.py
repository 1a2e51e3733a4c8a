"""Tests check the shape of every array that enters or leaves a function of the package: `tests/conftest.py`."""

import jax.numpy as jnp
import jaxtyping
import pytest

from im_jax.losses.weighting import normalise, target_mask


def test_arrays_of_another_shape_are_refused() -> None:
    rows = jnp.ones((2, 3), jnp.int32)
    assert target_mask(rows).shape == (2, 3)
    with pytest.raises(jaxtyping.TypeCheckError, match=r"(?s)target_mask.*segments"):
        target_mask(rows[0])
    with pytest.raises(jaxtyping.TypeCheckError, match=r"(?s)normalise.*segments"):
        normalise(jnp.ones((2, 4)), rows, "sum")
