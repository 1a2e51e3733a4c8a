"""The shortest time that a step can take, and the least that it costs: bounds, not forecasts.

Each of what a step must do is divided by what the chip can do at best, and the largest of these times counts,
as if all overlapped perfectly. Real steps take longer.
"""

import math
from typing import NamedTuple

from im_jax.pods.collectives import BETWEEN_SLICES, Collective
from im_jax.pods.compiling import Compiled
from im_jax.pods.topology import Topology


class Bound(NamedTuple):
    """Seconds that a step takes at least for each of what it does."""

    compute: float
    """Operations at the stated peak of dense products in bfloat16."""
    memory: float
    """Bytes that a device reads from its memory and writes to it."""
    interconnect: float
    """Bytes that a device takes in over all of its links at once."""
    network: float
    """Bytes that slices take in from each other."""

    @property
    def seconds(self) -> float:
        return max(self)

    @property
    def by(self) -> str:
        """What takes longest."""
        return self._fields[self.index(self.seconds)]


def bound(compiled: Compiled) -> Bound:
    """Of a step as it was compiled; of GPUs, whose program is not known, without exchanges."""
    chip = compiled.topology.chip
    between = [each for each in compiled.collectives if each.axes == BETWEEN_SLICES]
    inside = [each for each in compiled.collectives if each.axes != BETWEEN_SLICES]
    return Bound(
        compute=least_flops(compiled) / compiled.topology.devices / chip.flops,
        memory=(bytes_read(compiled) + bytes_written(compiled)) / chip.bandwidth,
        interconnect=sum(map(_received, inside)) / chip.interconnect,
        network=sum(map(_received, between)) / chip.network,
    )


def least_flops(compiled: Compiled) -> float:
    """Operations of all devices, without those that kernels of causal attention leave out."""
    return float(
        compiled.traced["flops"] - (1 - compiled.traced["kernel_share"]) * compiled.traced["kernel_flops"]
    )


def bytes_read(compiled: Compiled) -> int:
    """From a device's memory in a step, at least: arguments, what is gathered, and what is added up."""
    exchanged = sum(
        each.bytes
        for each in compiled.collectives
        if each.kind in ("all-gather", "all-reduce", "reduce-scatter")
    )
    return int(compiled.traced["argument_bytes"]) + exchanged


def bytes_written(compiled: Compiled) -> int:
    """To a device's memory in a step, at least: the new state, and what is gathered."""
    gathered = sum(each.bytes for each in compiled.collectives if each.kind == "all-gather")
    return int(compiled.traced["param_bytes"] + compiled.traced["optimizer_bytes"]) + gathered


def price_per_hour(topology: Topology, *, spot: bool) -> float | None:
    """Dollars for all chips; None where no price is known."""
    price = topology.chip.spot if spot else topology.chip.price
    return None if price is None else price * topology.chips


def _received(each: Collective) -> float:
    """Bytes that a device must take in from the others of its group.

    A sum counts as if each device kept a part of it: compilers for TPUs write that as an `all-reduce` too.
    """
    if each.kind == "collective-permute":
        return float(each.bytes)
    return each.bytes * (each.group - 1) / each.group if each.group > 1 else 0.0


def share_of_peak(compiled: Compiled, seconds: float) -> float:
    """Model FLOP utilisation if a step takes so long."""
    peak = compiled.topology.chip.flops * compiled.topology.devices
    return math.nan if seconds <= 0 else float(compiled.traced["model_flops"]) / seconds / peak
