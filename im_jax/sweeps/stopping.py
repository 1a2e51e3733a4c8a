"""Comparisons that need no more seeds, and the runs that are left out for that; from the results alone.

Pairs are looked at in the order of the sweep's seeds, up to the first seed of which a run has not ended, so
that neither the number of workers nor which run was faster decides. A run is left out where every comparison
that it is part of is settled: the same command, started again, leaves out the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from im_jax.evaluation.statistics.sequential import Looks, Settled, settled
from im_jax.sweeps.aggregation import Pairs, group, pair
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import Labels, StopEarly, Sweep
from im_jax.sweeps.results import ResultsFile


class Decision(NamedTuple):
    """How one comparison stands."""

    pairs: Pairs
    seen: tuple[float, ...]
    """Differences that were looked at, in order."""
    settled: Settled | None

    @property
    def name(self) -> str:
        """`im minus it, examples=100`."""
        compared = self.pairs.comparison
        points = [f"{axis}={label}" for axis, label in self.pairs.labels.items()]
        return ", ".join([f"{compared.first} minus {compared.second}", *points])


def looks_of(sweep: Sweep, stop: StopEarly) -> Looks:
    """One after each pair, from the first that is wanted to the last seed."""
    return Looks(len(sweep.seeds), stop.first, stop.level)


def decisions(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile) -> list[Decision]:
    """How each comparison stands; none where the sweep does not stop early."""
    stop = sweep.stop
    if stop is None:
        return []
    measure, looks = sweep.measure(stop.measure), looks_of(sweep, stop)
    found = []
    for pairs in pair(sweep, group(cells, results, sweep.evaluations)):
        values, ended = pairs.values(measure), pairs.ended()
        seen = tuple(one - other for seed in ended if seed in values for one, other in [values[seed]])
        found.append(Decision(pairs, seen, settled(seen, looks, stop.margin)))
    return found


def left_out(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile) -> dict[str, list[Decision]]:
    """Runs that need not be run, by their hashes, with the decisions that say so."""
    by_labels: dict[tuple[str, ...], list[Decision]] = {}
    for decision in decisions(sweep, cells, results):
        for one in (decision.pairs.first, decision.pairs.second):
            by_labels.setdefault(_key(one.labels), []).append(decision)
    return {
        cell.hash: found
        for cell in cells
        if results.get(cell.hash) is None
        and (found := by_labels.get(_key(cell.labels)))
        and all(decision.settled for decision in found)
    }


def why(found: Sequence[Decision]) -> str:
    """Why a run is left out."""
    return "; ".join(
        f"{each.name} is settled after {each.settled.pairs} pairs: {each.settled.how.value}"
        for each in found
        if each.settled
    )


def reason_to_leave(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile) -> Callable[[Cell], str]:
    """Says of a run that is about to begin why it need not; empty where it is to be run."""
    return lambda cell: why(left_out(sweep, cells, results).get(cell.hash, ()))


def in_rounds(sweep: Sweep, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells as they are submitted where all could run at once: up to the first look, then seed by seed."""
    if sweep.stop is None:
        return [list(cells)]
    seeds = list(sweep.seeds)
    rounds: Mapping[int, list[Cell]] = {at: [] for at in range(len(seeds))}
    for cell in cells:
        rounds[max(seeds.index(cell.seed) - sweep.stop.first + 1, 0)].append(cell)
    return [part for part in rounds.values() if part]


def _key(labels: Labels) -> tuple[str, ...]:
    return tuple(labels.values())
