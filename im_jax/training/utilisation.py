"""How much of the devices a run uses: the rate that a step is measured against."""

import time
from collections.abc import Sequence
from typing import Final

import jax
import jax.numpy as jnp

# Dense bfloat16 products, in FLOP/s of one device of JAX, as the vendors state them. A beginning of
# `device_kind`; the longest that fits counts.
STATED_PEAKS: Final = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,  # v5p
    "TPU v6 lite": 918e12,
    "TPU7x": 2307e12 / 2,  # two devices a chip
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}
_SIZE: Final = 1024
_REPEATS: Final = 5


def peak_flops(compute_dtype: str, devices: Sequence[jax.Device] | None = None) -> float:
    """FLOP/s of matrix products of some devices together, which model FLOP utilisation is a share of.

    Devices of all processes if none are given. They may be only described (`jax.experimental.topologies`).

    What the vendor states for bfloat16 where the device is known, whatever the type. Else, as on a CPU, the
    best of a few products of matrices of 1024 x 1024 in `compute_dtype`, measured now on one device; the
    host devices that `--xla_force_host_platform_device_count` makes share one CPU and count once.
    """
    devices = jax.devices() if devices is None else devices
    device = devices[0]
    kinds = [kind for kind in STATED_PEAKS if device.device_kind.startswith(kind)]
    if kinds:
        return STATED_PEAKS[max(kinds, key=len)] * len(devices)
    machines = len({each.process_index for each in devices}) if device.platform == "cpu" else len(devices)
    return _measured(jnp.dtype(compute_dtype)) * machines


def _measured(dtype: jnp.dtype) -> float:
    with jax.default_device(jax.local_devices()[0]):
        matrix = jnp.ones((_SIZE, _SIZE), dtype)
        product = jax.jit(jnp.dot)
        times = []
        for _ in range(_REPEATS + 1):  # the first one compiles
            began = time.perf_counter()
            product(matrix, matrix).block_until_ready()
            times.append(time.perf_counter() - began)
    return 2 * _SIZE**3 / min(times[1:])
