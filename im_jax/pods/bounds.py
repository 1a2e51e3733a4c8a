"""The shortest time that a step can take, and the least that it costs: bounds, not forecasts.

Each of what a step must do is divided by what the chip can do at best, and the largest of these times counts,
as if all overlapped perfectly. Real steps take longer.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from im_jax.pods.collectives import Collective
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
    inside = sum(size for each, size in _taken_in(compiled) if each == "inside")
    between = sum(size for each, size in _taken_in(compiled) if each == "between")
    return Bound(
        compute=least_flops(compiled) / compiled.topology.devices / chip.flops,
        memory=(bytes_read(compiled) + bytes_written(compiled)) / chip.bandwidth,
        interconnect=inside / chip.interconnect,
        network=between / chip.network,
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


def _taken_in(compiled: Compiled) -> Iterator[tuple[str, float]]:
    """Bytes that a device takes in, and whether from its own slice or from others."""
    slices = compiled.topology.num_slices
    crossing = _axis_between(compiled.traced["mesh"], slices)
    for each in compiled.collectives:
        if slices > 1 and crossing in each.axes:
            outside = max(1, each.group // slices)
            yield "inside", _received(each, outside)
            # What comes from other slices may be shared out over the devices of a slice.
            yield "between", _received(each, slices) / (outside if each.kind == "all-gather" else 1)
        else:
            yield "inside", _received(each, each.group)


def _axis_between(mesh: dict[str, int], slices: int) -> str:
    """The axis that slices lie along; see `im_jax.mesh.make_mesh`."""
    return "replica" if mesh["replica"] % slices == 0 else "fsdp"


def _received(each: Collective, group: int) -> float:
    """Bytes that one of a group must take in from the others.

    A sum counts as if each device kept a part of it: compilers for TPUs write that as an `all-reduce` too.
    """
    if each.kind == "collective-permute":
        return float(each.bytes)
    return each.bytes * (group - 1) / group if group > 1 else 0.0


def share_of_peak(compiled: Compiled, seconds: float) -> float:
    """Model FLOP utilisation if a step takes so long."""
    peak = compiled.topology.chip.flops * compiled.topology.devices
    return math.nan if seconds <= 0 else float(compiled.traced["model_flops"]) / seconds / peak
