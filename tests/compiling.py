"""How the tests have their programs compiled."""

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "JAX_DISABLE_MOST_OPTIMIZATIONS"


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Without the passes of LLVM that take most of the time, here and in processes that are started meanwhile."""
    import jax

    before, outer = jax.config.read("jax_disable_most_optimizations"), os.environ.get(_VARIABLE)
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ[_VARIABLE] = "1"
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    del os.environ[_VARIABLE]
    if outer is not None:
        os.environ[_VARIABLE] = outer
