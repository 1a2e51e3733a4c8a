"""What chips can do, hold and cost. Per chip, as the vendor counts them; JAX may see two devices in one."""

from typing import Final, NamedTuple

from im_jax.training.utilisation import STATED_PEAKS

GB: Final = 10**9
GIB: Final = 2**30
PRICED: Final = "2026-08, Google Cloud us-central1, on demand and spot"
"""When and where the prices below were read; other regions differ, and they change."""


class Chip(NamedTuple):
    """A kind of accelerator."""

    kind: str
    """Beginning of JAX's `device_kind`."""
    devices: int
    """That JAX sees in a chip."""
    memory: int
    """Bytes of high-bandwidth memory of a device that a program may use. Of TPUs as their compiler says; of
    GPUs what the vendor states, of which JAX takes three quarters unless it is told otherwise."""
    bandwidth: float
    """Bytes a second between a device and its memory."""
    interconnect: float
    """Bytes a second that a device can take in from others near it, over all its links together."""
    network: float
    """Bytes a second that a device can take in from other slices or nodes."""
    dimensions: int = 0
    """Of a slice's shape; 0: a number of GPUs."""
    most: int = 0
    """Chips of the largest slice that can be rented; 0: no bound is known."""
    price: float | None = None
    """Dollars for an hour of a chip, on demand; None: unknown."""
    spot: float | None = None
    """The same, of chips that may be taken away at any time."""

    @property
    def flops(self) -> float:
        """Floating-point operations a second of a device, dense products in bfloat16, as stated."""
        return STATED_PEAKS[self.kind]


def _tpu(
    kind: str,
    *,
    devices: int = 1,
    memory: float,
    bandwidth: float,
    links: tuple[int, float],
    network: float,
    dimensions: int,
    most: int,
    price: float | None = None,
    spot: float | None = None,
) -> Chip:
    """`memory` in GiB of a device; of a chip: `bandwidth` in GB/s, `links` with GB/s of one in one direction,
    `network` in Gb/s."""
    return Chip(
        kind,
        devices,
        int(memory * GIB),
        bandwidth * GB / devices,
        links[0] * links[1] * GB / devices,
        network * GB / 8 / devices,
        dimensions,
        most,
        price,
        spot,
    )


def _gpu(kind: str, memory: int, bandwidth: float, links: float) -> Chip:
    """`memory` in GB, `bandwidth` and NVLink's `links`, one way, in GB/s; a network of 400 Gb/s."""
    return Chip(kind, 1, memory * GB, bandwidth * GB, links * GB, 400 * GB / 8)


# TPUs: cloud.google.com/tpu/docs, read 2026-08. Memory: what libtpu 0.0.50.1 says that a program may use.
# Links: jax-ml.github.io/scaling-book. v4's network is not stated, and taken as v5p's. GPUs: NVIDIA's pages.
CHIPS: Final = {
    "v4": _tpu("TPU v4", memory=30.75, bandwidth=1200, links=(6, 45), network=50, dimensions=3, most=4096),
    "v5e": _tpu(
        "TPU v5 lite",
        memory=15.75,
        bandwidth=819,
        links=(4, 45),
        network=25,
        dimensions=2,
        most=256,
        price=1.20,
        spot=0.30,
    ),
    "v5p": _tpu(
        "TPU v5",
        memory=95.73,
        bandwidth=2765,
        links=(6, 90),
        network=50,
        dimensions=3,
        most=6144,
        price=4.20,
        spot=0.78,
    ),
    "v6e": _tpu(
        "TPU v6 lite",
        memory=31.24,
        bandwidth=1638,
        links=(4, 90),
        network=100,
        dimensions=2,
        most=256,
        price=2.70,
        spot=0.59,
    ),
    "tpu7x": _tpu(
        "TPU7x",
        devices=2,
        memory=94.74,
        bandwidth=7380,
        links=(6, 100),
        network=100,
        dimensions=3,
        most=9216,
    ),
    "a100": _gpu("NVIDIA A100", 80, 2039, 300),
    "h100": _gpu("NVIDIA H100", 80, 3350, 450),
    "h200": _gpu("NVIDIA H200", 141, 4800, 450),
    "b200": _gpu("NVIDIA B200", 180, 8000, 900),
}
"""By the name that a topology begins with."""
