"""What a report says of comparisons that end when they are settled: the rule, verdicts, what was left out."""

from collections.abc import Iterator, Sequence

from im_jax.sweeps import tables
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import StopEarly, Sweep
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.stopping import Decision, decisions, left_out, looks_of, why
from im_jax.text import as_code, as_markdown


def sections(sweep: Sweep, cells: Sequence[Cell], results: ResultsFile) -> Iterator[str]:
    """A section, if the sweep may stop early."""
    stop = sweep.stop
    if stop is None:
        return
    yield "## When comparisons were settled"
    yield _rule(sweep, stop)
    lines = [_line(sweep, stop, each) for each in decisions(sweep, cells, results)]
    title = sweep.measure(stop.measure).title or stop.measure
    yield tables.of_texts(
        ["comparison", "pairs seen", f"mean difference, {title}", "interval", "verdict"], lines
    )
    unneeded = left_out(sweep, cells, results)
    seeds: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.hash in unneeded:
            points = ", ".join(f"{axis}={label}" for axis, label in cell.labels.items())
            seeds.setdefault((points, why(unneeded[cell.hash])), []).append(str(cell.seed))
    if seeds:
        yield "Left out, as every comparison that they are part of is settled:"
        rows = [[points, ", ".join(numbers), reason] for (points, reason), numbers in seeds.items()]
        yield tables.of_texts(["runs", "seeds", "why"], rows)


def _rule(sweep: Sweep, stop: StopEarly) -> str:
    margin = "" if stop.margin is None else f", or lies within {stop.margin:g} of 0"
    looks = len(sweep.seeds) - stop.first + 1
    return (
        f"Each comparison is looked at after each pair of runs, from {stop.first} pairs on, by "
        f"{as_code(stop.measure)}. It is settled when its interval leaves out 0{margin}; then no more seeds "
        f"of it are run. The intervals hold over all looks: with probability {1 - stop.level:g} none of "
        f"the {looks} looks at a comparison misses the true difference (its level is spent as the "
        "square of the share of pairs; Lan and DeMets 1983, Kim and DeMets 1987, added up by Bonferroni's "
        "inequality; differences taken as normal). That is of each comparison, not of all together. The "
        f"sweep was planned with {len(sweep.seeds)} seeds."
    )


def _line(sweep: Sweep, stop: StopEarly, each: Decision) -> list[str]:
    if each.settled is not None:
        low, high = each.settled.interval
        verdict = f"{each.settled.how.value}, after {each.settled.pairs} pairs"
        numbers = [f"{each.settled.mean:+.4g}", f"{low:+.4g} to {high:+.4g}"]
    elif len(each.seen) >= stop.first and len(set(each.seen)) > 1:
        low, high = looks_of(sweep, stop).interval(each.seen)
        verdict = "open"
        numbers = [f"{sum(each.seen) / len(each.seen):+.4g}", f"{low:+.4g} to {high:+.4g}"]
    else:
        verdict, numbers = "open: too few pairs", [tables.NOTHING, tables.NOTHING]
    return [as_markdown(each.name), str(len(each.seen)), *numbers, verdict]
