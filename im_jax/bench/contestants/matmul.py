"""The best rate that matrix products reach here, of which all other rates are a share."""

from typing import Final

import numpy as np

from im_jax.bench.case import SEED, Case
from im_jax.bench.contestant import Contestant
from im_jax.bench.contestants import jax_backend, torch_backend

_CPU_SIZE: Final = 2048
_GPU_SIZE: Final = 8192
"""Large enough to keep all of a GPU busy."""


def make(case: Case, variant: str) -> Contestant:
    """A product of two square matrices; `variant` is `jax:DTYPE` or `torch:DTYPE`, whatever the case's."""
    del case
    library, _, dtype = variant.partition(":")
    return (_in_jax if library == "jax" else _in_torch)(dtype)


def _square(size: int) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal((size, size), np.float32)


def _in_jax(dtype: str) -> Contestant:
    jax, jnp = jax_backend.jax, jax_backend.jnp
    size = _CPU_SIZE if jax.default_backend() == "cpu" else _GPU_SIZE
    matrix = jnp.asarray(_square(size), dtype)
    return jax_backend.contestant(jnp.matmul, (matrix, matrix), lambda _: {"matmul_flops": 2 * size**3})


def _in_torch(dtype: str) -> Contestant:
    torch, device = torch_backend.start()
    size = _CPU_SIZE if device == "cpu" else _GPU_SIZE
    matrix = torch.from_numpy(_square(size)).to(device, getattr(torch, dtype))
    return torch_backend.contestant(lambda: matrix @ matrix, lambda _: {"matmul_flops": 2 * size**3})
