"""What contestants in JAX share: one compiled call, waited for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from im_jax.bench.contestant import Contestant, Values

__all__ = ["contestant", "device", "jax", "jnp", "memory", "to_numpy"]


def contestant(
    function: Callable[..., Any], arguments: tuple[Any, ...], values: Callable[[Any], Values]
) -> Contestant:
    """A function of arrays, compiled for them; `values` reads its result."""
    compiled = jax.jit(function).lower(*arguments).compile()
    results: list[Any] = [None]

    def call() -> None:
        results[0] = None  # as in training, where the last step's gradients are gone
        results[0] = jax.block_until_ready(compiled(*arguments))

    return Contestant(call, lambda: values(results[0]), device(), memory(compiled))


def device() -> str:
    """What JAX calls its first device."""
    return str(jax.devices()[0].device_kind)


def memory(compiled: Any) -> dict[str, int]:
    """Bytes of temporary buffers and of outputs, by the compiler's count; not all back ends have one."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return {}
    return {
        "temporary": int(analysis.temp_size_in_bytes),
        "output": int(analysis.output_size_in_bytes),
    }


def to_numpy(array: jax.Array) -> np.ndarray:
    """Float32 on the host."""
    return np.asarray(array).astype(np.float32)
