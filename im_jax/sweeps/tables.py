"""The numbers of a report as tables: Markdown for readers, CSV for programs."""

import csv
import io
import math
from collections.abc import Sequence

from im_jax.sweeps.aggregation import Group, Pairs, Statistic, measured, verdict
from im_jax.sweeps.definition import Measure, Profile, Sweep
from im_jax.text import as_code, as_markdown

NOTHING = "-"
"""Where there is no number."""


def means_table(sweep: Sweep, groups: Sequence[Group]) -> str:
    """Mean ± standard deviation of each measure, a row for each combination of points."""
    lines = [
        [*group.labels.values(), f"{len(group.finished())} of {len(group.results)}", *numbers]
        for group, numbers in zip(groups, _means(groups, sweep.measures), strict=True)
    ]
    return of_texts([*sweep.axes, "runs", *(measure.heading for measure in sweep.measures)], lines)


def profile_table(sweep: Sweep, profile: Profile, groups: Sequence[Group]) -> str:
    """Mean ± standard deviation of a profile, a row for each combination of points."""
    numbers = _means(groups, profile.measures())
    lines = [[*group.labels.values(), *row] for group, row in zip(groups, numbers, strict=True)]
    return of_texts([*sweep.axes, *(f"{profile.x} {label}" for label in profile.points)], lines)


def _means(groups: Sequence[Group], measures: Sequence[Measure]) -> list[tuple[str, ...]]:
    """A row for each group, a column for each measure."""
    statistics = [[group.statistic(measure) for measure in measures] for group in groups]
    columns = [_column(list(column)) for column in zip(*statistics, strict=True)]
    return list(zip(*columns, strict=True))


def pairs_table(sweep: Sweep, pairs: Sequence[Pairs]) -> str:
    """Mean ± standard deviation and 95 % interval of the differences, a row for each pair of combinations."""
    statistics = [[p.statistic(measure) for measure in sweep.measures] for p in pairs]
    columns = [with_intervals(list(column)) for column in zip(*statistics, strict=True)]
    lines = [
        [*p.labels.values(), str(max(s.n for s in row)), *numbers]
        for p, row, numbers in zip(pairs, statistics, zip(*columns, strict=True), strict=True)
    ]
    names = [measure.title or measure.name for measure in sweep.measures]
    return of_texts([*pairs[0].labels, "pairs", *names], lines)


def as_csv(sweep: Sweep, groups: Sequence[Group], pairs: Sequence[Pairs]) -> str:
    """All statistics, one a line, with full precision. Differences name both points of their axis."""
    lines: list[list[object]] = [[*sweep.axes, "measure", "n", "mean", "sd", "low", "high", "p"]]
    for group in groups:
        for measure in sweep.every_measure():
            numbers = _blank(group.statistic(measure))
            lines.append([*group.labels.values(), measure.name, *numbers, "", "", ""])
    for p in pairs:
        for measure in sweep.every_measure():
            points = [
                label if label == other else f"{label} - {other}"
                for label, other in zip(p.first.labels.values(), p.second.labels.values(), strict=True)
            ]
            worth = p.verdict(measure)
            numbers = ["", "", ""] if worth is None else [*worth.interval, worth.p]
            lines.append([*points, measure.name, *_blank(p.statistic(measure)), *numbers])
    return to_csv(lines)


def runs_csv(sweep: Sweep, groups: Sequence[Group]) -> str:
    """All measures of every run that has finished, a run a line, with six digits."""
    measures = sweep.every_measure()
    lines: list[list[object]] = [
        [*sweep.axes, "seed", "hash", "seconds", *(measure.name for measure in measures)]
    ]
    for group in groups:
        for result in group.finished().values():
            numbers = [measured(result, measure) for measure in measures]
            shown = ["" if number is None else f"{number:.6g}" for number in numbers]
            seconds = f"{result.seconds:.1f}"
            lines.append([*group.labels.values(), result.seed, result.hash, seconds, *shown])
    return to_csv(lines)


def to_csv(lines: Sequence[Sequence[object]]) -> str:
    """Lines of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def of_texts(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown of texts that are shown as they are: labels, numbers, errors."""
    return of_markdown(list(map(as_markdown, titles)), [list(map(as_markdown, line)) for line in lines])


def of_markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, aligned for those who read it as text."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in [titles, *lines]]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(titles))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [cells[0], rule, *cells[1:]]
    )


def code(text: object) -> str:
    """Code in a cell of `of_markdown`; in backquotes there is no way to write a bar behind a backslash."""
    return f"<code>{as_markdown(text)}</code>" if "|" in str(text) else as_code(text)


def _blank(values: Statistic) -> list[object]:
    return ["" if value is None else value for value in values]


def with_intervals(statistics: Sequence[Statistic]) -> list[str]:
    """A column of differences: mean ± deviation (95 % interval of the mean)."""
    decimals = _decimals(statistics)
    intervals = [worth and worth.interval for worth in map(verdict, statistics)]
    return [
        _cell(s, decimals, "+") + (f" ({i.low:+.{decimals}f} to {i.high:+.{decimals}f})" if i else "")
        for s, i in zip(statistics, intervals, strict=True)
    ]


def _column(statistics: Sequence[Statistic]) -> list[str]:
    """Means and deviations with as many decimals as the column's deviations are worth."""
    decimals = _decimals(statistics)
    return [_cell(s, decimals, "") for s in statistics]


def _decimals(statistics: Sequence[Statistic]) -> int:
    """So many that the middle one of the deviations has two digits."""
    deviations = sorted(s.sd for s in statistics if s.sd)
    scale = deviations[len(deviations) // 2] if deviations else _typical(statistics) / 100
    return min(max(1 - math.floor(math.log10(scale)), 0), 10) if scale else 0


def _typical(statistics: Sequence[Statistic]) -> float:
    means = [abs(s.mean) for s in statistics if s.mean]
    return min(means) if means else 0.0


def _cell(statistic: Statistic, decimals: int, sign: str) -> str:
    if statistic.mean is None:
        return NOTHING
    mean = f"{statistic.mean:{sign}.{decimals}f}"
    return mean if statistic.sd is None else f"{mean} ± {statistic.sd:.{decimals}f}"
