"""Where a data set lies on the two fits of the Instruction Modelling paper, with what they are worth.

Shi et al., "Instruction Tuning With Loss Over Instructions" (NeurIPS 2024), figure 2: by how much the win
rate on AlpacaEval 1.0 after Instruction Modelling is above that after instruction tuning, in per cent of the
latter.
"""

import math
from typing import Final, NamedTuple

LABEL: Final = "One paper's single-seed fit on LLaMA-2-7B (Shi et al. 2024, figure 2)"
GAIN: Final = "Relative gain of IM over IT on AlpacaEval 1.0, %"
SIZE_RATIO: Final = 10.0
"""Ratio of the examples of the second fit."""
_NEAR: Final = (5.0, 20.0)
"""Ratios that are taken for about 10: within a factor of 2."""


class Fit(NamedTuple):
    """`slope * ln(x) + intercept`, in per cent."""

    name: str
    slope: float
    intercept: float
    fitted: tuple[float, float]
    """Least and greatest x of the paper's training sets."""
    where: str
    """What it was fitted to."""

    def gain(self, x: float) -> float:
        """What the fit says."""
        return self.slope * math.log(x) + self.intercept

    def covers(self, x: float) -> bool:
        """Whether x is between those that it was fitted to."""
        return self.fitted[0] <= x <= self.fitted[1]


RATIO: Final = Fit(
    "ratio of instruction to output in words",
    18.85,
    25.83,
    (0.0942, 26.3316),
    "sets of 1,030 to 13,533 examples whose instructions are 0.09 to 26.3 times as long as their outputs",
)
SIZE: Final = Fit(
    "number of examples",
    -39.37,
    431.74,
    (1_000, 35_000),
    "1,000 to 35,000 examples whose instructions are about 10 times as long as their outputs",
)


class Published(NamedTuple):
    """A training set of the paper: its ratio in Table 5, and win rates in per cent in Table 1."""

    name: str
    ratio: float
    it: float
    im: float

    @property
    def gain(self) -> float:
        """Of IM over IT, in per cent of IT's win rate."""
        return 100 * (self.im / self.it - 1)


PUBLISHED: Final = (
    Published("LIMA", 0.0942, 33.06, 32.94),
    Published("Dolly 9k", 0.2965, 21.54, 30.77),
    Published("Alpaca 5k", 0.5672, 16.29, 19.52),
    Published("Dolly 3k", 0.6439, 13.42, 15.11),
    Published("BBH ICL", 3.265, 36.20, 44.15),
    Published("Tydiqa", 5.862, 5.12, 10.10),
    Published("MMLU Chat", 26.3316, 4.42, 9.78),
)


class Place(NamedTuple):
    """Where a data set lies on a fit."""

    fit: Fit
    x: float
    gain: float
    extrapolated: bool
    reading: str
    """A sentence on what that is worth."""

    @property
    def x_text(self) -> str:
        """x as a reader sees it."""
        return f"{self.x:,}" if isinstance(self.x, int) else f"{self.x:.4g}"


def places(ratio: float | None, examples: int) -> list[Place]:
    """The places of a data set by its ratio in words and number of examples; none where it has no ratio."""
    if not ratio or not examples:
        return []
    return [_on_ratio(ratio), _on_size(ratio, examples)]


def _on_ratio(ratio: float) -> Place:
    within = RATIO.covers(ratio)
    reading = f"{_said(within)}: fitted to {RATIO.where}."
    return Place(RATIO, ratio, RATIO.gain(ratio), not within, reading)


def _on_size(ratio: float, examples: int) -> Place:
    if applies := _NEAR[0] <= ratio <= _NEAR[1]:
        said = _said(SIZE.covers(examples))
    else:
        said = f"Not for this set, whose ratio is {ratio:.4g}"
    reading = f"{said}: fitted to {SIZE.where}."
    return Place(SIZE, examples, SIZE.gain(examples), not (applies and SIZE.covers(examples)), reading)


def _said(within: bool) -> str:
    return "Within its range" if within else "Extrapolated"
