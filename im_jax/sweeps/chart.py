"""One figure before it is drawn: its points, lines and panels, and what is said beneath."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from im_jax.sweeps.definition import ANY_NUMBER, Bounds, Kind, Labels, Scale

_MARGIN: Final = 0.05
"""Free at each end of a y axis, as a share of what is drawn."""


class Point(NamedTuple):
    """A mark on a line."""

    label: str
    """Of the x axis; where x is measured, that of the axis it stands for."""
    x: str
    """Where it is drawn: the label, or the number where x is measured."""
    n: int | None
    """Seeds; None for a reference."""
    mean: float
    sd: float | None

    def bar(self, within: Bounds) -> tuple[float, float] | None:
        """From one deviation below the mean to one above, cut where no number can be; None without any."""
        if self.sd is None:
            return None
        low, high = within
        return max(self.mean - self.sd, min(low, self.mean)), min(self.mean + self.sd, max(high, self.mean))


@dataclass
class Line:
    """What is drawn as one line."""

    title: str
    series: str
    reference: bool
    points: list[Point] = field(default_factory=list)


@dataclass
class Panel:
    """Lines that share their axes."""

    labels: Labels
    """The points that it is for."""
    measured: dict[str, Line] = field(default_factory=dict)
    """By series."""
    references: list[Line] = field(default_factory=list)

    @property
    def title(self) -> str:
        """`examples=100, rate=0.001`; empty for the only one."""
        return in_words(self.labels)

    @property
    def lines(self) -> list[Line]:
        """All of them, references last."""
        return [*self.measured.values(), *self.references]


@dataclass(frozen=True)
class Chart:
    """One figure."""

    name: str
    title: str
    x: str
    """Title of the x axis."""
    x_scale: Scale
    labels: Sequence[str]
    """Places on the x axis that are there in any case, in order; none where x is measured."""
    ordered: bool
    """Whether labels that are no numbers are in an order all the same, such as `4`, `5-6`, `7 and more`."""
    y: str
    bounds: Bounds
    """Of y."""
    legend: str
    """Title of the legend."""
    series: Sequence[str]
    """In the order of their colours, or of their rows from below."""
    panels: Sequence[Panel]
    kind: Kind = Kind.LINES

    def is_empty(self) -> bool:
        """Whether no run has any of its numbers."""
        return not any(line.points for panel in self.panels for line in panel.measured.values())

    def limits(self) -> Bounds:
        """Ends of the y axis: the bounds if both are finite, else a little beyond what is drawn."""
        low, high = self.bounds
        points = [point for panel in self.panels for line in panel.lines for point in line.points]
        bars = [bar for point in points if (bar := point.bar(self.bounds))]
        drawn = [*(point.mean for point in points), *(end for bar in bars for end in bar)]
        margin = _MARGIN * (max(drawn) - min(drawn) or abs(drawn[0]) or 1.0)
        if math.isfinite(low) and math.isfinite(high):
            return min(low, *drawn), max(high, *drawn)
        # A number that its measure should not have is drawn all the same.
        return min(max(low, min(drawn) - margin), *drawn), max(min(high, max(drawn) + margin), *drawn)

    def caption(self) -> str:
        """How many seeds a point is the mean of, and what the bars, or the small numbers of a field, are."""
        points = [p for panel in self.panels for line in panel.measured.values() for p in line.points]
        counts = sorted({point.n for point in points if point.n is not None})
        most = f"{counts[-1]} seeds"
        seeds = most if len(counts) == 1 else f"{counts[0]} to {most}"
        if self.kind is Kind.HEAT_MAP:
            fields = len(self.panels) * len(self.labels) * len(self.series)
            empty = " Fields without a number: no run." if len(points) < fields else ""
            if counts[-1] == 1:
                return f"One seed.{empty}"
            return f"Mean of {seeds} ± one standard deviation over seeds (n - 1).{empty}"
        if counts[-1] == 1:
            return "One seed, so there are no bars."
        cut = any(point.bar(self.bounds) != point.bar(ANY_NUMBER) for point in points)
        within = f", cut to what is possible ({_ends(self.bounds)})" if cut else ""
        return f"Mean of {seeds}; bars: one standard deviation over seeds (n - 1) to each side{within}."


def in_words(labels: Labels) -> str:
    """`policy=im, examples=100`."""
    return ", ".join(f"{axis}={label}" for axis, label in labels.items())


def _ends(within: Bounds) -> str:
    low, high = within
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"
