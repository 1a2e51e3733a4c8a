"""What a report says of settings that are compared: differences seed by seed, and gains along an axis."""

import pathlib
from collections.abc import Iterator, Sequence

from im_jax.data.report import fits
from im_jax.sweeps import figures, gains, tables
from im_jax.sweeps.aggregation import Pairs
from im_jax.sweeps.chart import Chart
from im_jax.sweeps.definition import Better, Comparison, Gain, Sweep
from im_jax.text import as_markdown


def sections(sweep: Sweep, pairs: Sequence[Pairs], directory: pathlib.Path) -> Iterator[str]:
    """A section for each comparison and each gain; its figures are drawn into a directory."""
    for comparison in sweep.every_comparison():
        of_it = [p for p in pairs if p.comparison == comparison]
        if of_it:
            yield from _differences(sweep, comparison, of_it)
    for gain in sweep.gains:
        compared = sweep.compared_by(gain)
        yield from _gain(sweep, gain, [p for p in pairs if p.comparison == compared], directory)


def picture(chart: Chart, directory: pathlib.Path) -> str:
    """Draws it; empty where there is nothing to draw."""
    path = figures.draw(chart, directory)
    return f"![{path.stem}](figures/{path.name})" if path else ""


def _differences(sweep: Sweep, comparison: Comparison, pairs: Sequence[Pairs]) -> Iterator[str]:
    yield f"## {as_markdown(comparison.first)} minus {as_markdown(comparison.second)}, seed by seed"
    yield tables.pairs_table(sweep, pairs)
    different = sum(not p.same_data() for p in pairs)
    seen = "In every pair both runs saw the same examples (their fingerprints are equal)."
    if different:
        seen = f"In {different} of {len(pairs)} lines the two runs of a pair saw different examples."
    yield (
        "Mean ± standard deviation of the difference between the two runs that share a seed; in brackets the "
        f"95 % interval of the mean over seeds, by Student's t with n - 1 degrees of freedom. {seen}"
    )
    if sweep.stop is not None:
        yield (
            "Whether more seeds were run was decided by what was seen. These intervals do not know that; "
            "those of *When comparisons were settled*, below, do."
        )


def _gain(sweep: Sweep, gain: Gain, pairs: Sequence[Pairs], directory: pathlib.Path) -> Iterator[str]:
    measure, compared = sweep.measure(gain.measure), sweep.compared_by(gain)
    first, second = as_markdown(compared.first), as_markdown(compared.second)
    rows = gains.rows(sweep, gain, pairs)
    if not rows:
        return
    title = as_markdown(measure.title or measure.name)
    yield f"## Gain of {first} over {second} in {title}, by {as_markdown(gain.x_title)}"
    numbers = tables.with_intervals([row.statistic for row in rows])
    x = [] if gain.x_measure is None else [gain.x_title]
    lines = [
        [*row.labels.values(), *(f"{row.x:.4g}" for _ in x), str(row.statistic.n), number]
        for row, number in zip(rows, numbers, strict=True)
    ]
    yield tables.of_texts([*rows[0].labels, *x, "pairs", "gain in %"], lines)
    over = f"{second} - {first}" if measure.better is Better.LOWER else f"{first} - {second}"
    yield (
        f"100 ({over}) / {second} of the two runs that share a seed: mean ± standard deviation and 95 % "
        "interval over seeds."
    )
    for series, line in gains.fitted(rows).items():
        low, high = line.slope_interval
        of = f" of {as_markdown(series)}" if series else ""
        yield (
            f"Least squares through the {line.points} means{of}: {line.text}; the slope's 95 % interval is "
            f"{low:.4g} to {high:.4g}."
        )
    if gain.fit is not None:
        yield (
            f"{fits.LABEL}, dashed: {gain.fit.slope:g} ln(x) {gain.fit.intercept:+g}, of its own measure "
            f"({fits.GAIN[0].lower()}{fits.GAIN[1:]}) and x: {gain.fit.name}. It was fitted to "
            f"{gain.fit.where}, and is drawn over these alone."
        )
    yield picture(gains.chart(sweep, gain, rows), directory)
