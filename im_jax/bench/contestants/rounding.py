"""Inputs of the references in float64: as the contestants see them, in their own type."""

import jaxtyping as jt
import ml_dtypes
import numpy as np


def rounded(array: jt.Float32[np.ndarray, "*shape"], dtype: str) -> jt.Float64[np.ndarray, "*shape"]:
    """The array in float64 with its values rounded to `float32` or `bfloat16`."""
    return array.astype({"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}[dtype]).astype(np.float64)
