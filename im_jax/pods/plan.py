"""A plan: what a configuration needs of some slices, what it would cost, and what else would fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from im_jax.config import Config
from im_jax.pods.bounds import Bound, bound, bytes_read, bytes_written, price_per_hour, share_of_peak
from im_jax.pods.chips import PRICED
from im_jax.pods.compiling import Compiled, compile_step
from im_jax.pods.saving import Saving, best_saving
from im_jax.pods.topology import Topology
from im_jax.pods.trials import Batches, Change

_CHIPS_A_HOST = {True: 4, False: 8}
"""Of TPUs, and of GPUs."""


@dataclass(frozen=True)
class Assumptions:
    """What no compiler knows."""

    save_rate: float
    """Bytes a second that a host writes to where checkpoints are kept."""
    between_stops: float
    """Mean seconds between two preemptions."""


@dataclass(frozen=True)
class Plan:
    """What is known of a configuration on some slices."""

    config: Config
    compiled: Compiled
    assumed: Assumptions
    batches: Batches | None = None
    """None: it was not looked for."""
    changes: Sequence[Change] = ()
    """That were tried, where the configuration does not fit."""

    @property
    def topology(self) -> Topology:
        return self.compiled.topology

    @property
    def headroom(self) -> float:
        """Share of a device's memory that is left; below 0: what is missing."""
        return 1 - self.compiled.needed / self.compiled.available

    @property
    def bound(self) -> Bound:
        """The shortest time of a step."""
        return bound(self.compiled)

    @property
    def hosts(self) -> int:
        return math.ceil(self.topology.chips / _CHIPS_A_HOST[self.topology.is_tpu])

    @property
    def saving(self) -> Saving:
        """Checkpoints, written by all hosts at once."""
        rate = self.assumed.save_rate * self.hosts
        return best_saving(self.compiled.traced["checkpoint_bytes"], rate, self.assumed.between_stops)

    def price_per_step(self, *, spot: bool) -> float | None:
        """Dollars, at least; None where no price is known."""
        price = price_per_hour(self.topology, spot=spot)
        return None if price is None else price * self.bound.seconds / 3600

    def as_json(self) -> dict[str, Any]:
        """For programs: bytes are of a device, operations of all."""
        compiled, known, shortest, saving = self.compiled, self.compiled.traced, self.bound, self.saving
        temporary = None if compiled.hbm_bytes is None else compiled.hbm_bytes - known["argument_bytes"]
        return {
            "topology": self.topology.name,
            "num_slices": self.topology.num_slices,
            "chips": self.topology.chips,
            "devices": self.topology.devices,
            "mesh": known["mesh"],
            "known_by": "shapes" if compiled.hbm_bytes is None else "compiler",
            "hbm_bytes": compiled.available,
            "param_bytes": known["param_bytes"],
            "optimizer_bytes": known["optimizer_bytes"],
            "frozen_bytes": known["frozen_bytes"],
            "batch_bytes": known["batch_bytes"],
            "argument_bytes": known["argument_bytes"],
            "temporary_bytes": temporary,
            "code_bytes": compiled.code_bytes,
            "peak_bytes": compiled.needed,
            "headroom_percent": 100 * self.headroom,
            "fits": compiled.fits,
            "problem": compiled.problem,
            "largest_buffers": [each._asdict() for each in compiled.buffers],
            "parameters": known["parameters"],
            "tokens": known["tokens"],
            "flops": known["flops"],
            "kernel_flops": known["kernel_flops"],
            "model_flops": known["model_flops"],
            "bytes_read": bytes_read(compiled),
            "bytes_written": bytes_written(compiled),
            "collectives": [each._asdict() for each in compiled.collectives],
            "step_seconds_at_least": {**shortest._asdict(), "all": shortest.seconds, "by": shortest.by},
            "utilisation_at_most": share_of_peak(compiled, shortest.seconds),
            "price": self._prices(),
            "checkpoint": {
                **saving._asdict(),
                "save_rate": self.assumed.save_rate * self.hosts,
                "between_stops": self.assumed.between_stops,
                "every_at_most": steps_between(saving, shortest),
            },
            "largest_batch": self.batches.largest if self.batches else None,
            "next_batch": self.batches.next if self.batches else None,
            "next_batch_bytes": self.batches.next_needed if self.batches else None,
            "changes": [each._asdict() | {"flags": str(each)} for each in self.changes],
        }

    def _prices(self) -> dict[str, Any]:
        prices: dict[str, Any] = {"dated": PRICED}
        for name, spot in (("on_demand", False), ("spot", True)):
            step = self.price_per_step(spot=spot)
            run = step * self.config.train.steps if step is not None and self.config.train.steps else None
            prices[name] = {
                "dollars_per_hour": price_per_hour(self.topology, spot=spot),
                "dollars_per_step_at_least": step,
                "dollars_per_run_at_least": run,
            }
        return prices


def steps_between(saving: Saving, shortest: Bound) -> int:
    """Steps between two checkpoints, at most: real steps take longer than the bound."""
    return max(1, int(saving.interval / shortest.seconds)) if shortest.seconds else 1


def make_plan(config: Config, topology: Topology, assumed: Assumptions, *, until_code: bool) -> Plan:
    """The plan of a configuration as it is. Raises as `compile_step`."""
    return Plan(config, compile_step(config, topology, until_code=until_code), assumed)
