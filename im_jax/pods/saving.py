"""How large a checkpoint is, how long it takes to write, and how often to write one."""

import math
from typing import NamedTuple


class Saving(NamedTuple):
    """Checkpoints of a run that may be stopped without notice."""

    bytes: int
    """Of one, uncompressed: parameters and the state of the optimiser."""
    seconds: float
    """To write one."""
    interval: float
    """Seconds between two that lose least."""
    lost: float
    """Share of the time that is then spent on writing, and on doing again what was lost."""


def best_saving(size: int, rate: float, between_stops: float) -> Saving:
    """The interval that loses least, by Daly (doi:10.1016/j.future.2004.11.016), refining Young's estimate.

    Args:
        size: bytes of a checkpoint.
        rate: bytes a second that are written, of all hosts together.
        between_stops: mean seconds between two stops; a stop loses what was done since the last checkpoint.
    """
    writing = size / rate
    if writing >= 2 * between_stops:  # the estimate ends here: little is ever saved
        return Saving(size, writing, between_stops, 1.0)
    ratio = writing / (2 * between_stops)
    interval = math.sqrt(2 * writing * between_stops) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - writing
    interval = max(interval, writing)
    # Of a period: what is written, and half of it lost at each stop.
    period = interval + writing
    lost = min(1.0, writing / period + period / 2 / between_stops)
    return Saving(size, writing, interval, lost)
