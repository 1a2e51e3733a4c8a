"""Heat maps: the right number and colour in each field, readable, and nothing where nothing was run."""

import itertools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from im_jax.errors import ConfigError
from im_jax.sweeps.chart import Chart, Line, Panel, Point
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import (
    ANY_NUMBER,
    SHARE,
    Bounds,
    Kind,
    Measure,
    Plot,
    Reference,
    Scale,
)
from im_jax.sweeps.figures import draw, figure_of
from im_jax.sweeps.report import write_report
from tests.sweeps.small import LOSS, small_sweep
from tests.sweeps.test_charts import read_csv, results_of

Means = dict[tuple[str, str], float]
"""By row and column."""


def heat_map(means: Means, sd: float | None = 0.05, n: int = 3, **changes: Any) -> Chart:
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*means, strict=True))
    lines = {
        row: Line(row, row, False, [Point(x, x, n, means[row, x], sd) for x in columns if (row, x) in means])
        for row in rows
    }
    fields: dict[str, Any] = {
        "name": "accuracy",
        "title": "A title",
        "x": "examples",
        "x_scale": Scale.LINEAR,
        "labels": columns,
        "ordered": False,
        "y": "accuracy (higher is better)",
        "bounds": SHARE,
        "legend": "rules",
        "series": rows,
        "panels": [Panel({}, lines)],
        "kind": Kind.HEAT_MAP,
    }
    return Chart(**(fields | changes))


GRID: Means = {("100", "1k"): 0.0, ("100", "10k"): 0.25, ("1000", "1k"): 0.5, ("1000", "10k"): 1.0}


def drawn(chart: Chart) -> Figure:
    figure = figure_of(chart)
    figure.draw_without_rendering()
    return figure


def fields(figure: Figure, panel: int = 0) -> dict[tuple[str, str], tuple[str, Any]]:
    """Text and colour by row and column, found by where they are drawn."""
    ax = figure.axes[panel]
    names = [
        [label.get_text() for label in labels] for labels in (ax.get_yticklabels(), ax.get_xticklabels())
    ]
    squares = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    at = {
        (names[0][round(patch.get_y() + 0.5)], names[1][round(patch.get_x() + 0.5)]): patch.get_facecolor()
        for patch in squares
    }
    texts = {
        (names[0][round(text.get_position()[1])], names[1][round(text.get_position()[0])]): text.get_text()
        for text in ax.texts
    }
    assert at.keys() == texts.keys() and len(squares) == len(at) and len(ax.texts) == len(at)
    return {place: (texts[place], at[place]) for place in at}


def test_each_field_has_its_number_and_its_colour() -> None:
    found = fields(drawn(heat_map(GRID)))
    colours = matplotlib.colormaps["viridis"]
    assert found.keys() == GRID.keys()
    for place, mean in GRID.items():
        text, colour = found[place]
        assert text == f"{mean:.2f}\n± 0.05"
        np.testing.assert_allclose(colour, colours(mean))


def test_what_was_not_run_is_left_empty_and_the_caption_says_so() -> None:
    some = {place: mean for place, mean in GRID.items() if place != ("1000", "1k")}
    figure = drawn(heat_map(some))
    assert fields(figure).keys() == some.keys()
    caption = " ".join(figure.get_supxlabel().split())
    assert caption == (
        "Mean of 3 seeds ± one standard deviation over seeds (n - 1). Fields without a number: no run."
    )
    assert heat_map(GRID).caption().endswith("(n - 1).")
    assert heat_map(GRID, None, 1).caption() == "One seed."
    assert fields(drawn(heat_map(GRID, None, 1)))["1000", "1k"][0] == "0.50"


@pytest.mark.parametrize(
    ("means", "bounds", "texts", "span"),
    [
        ((0.2, 0.3), SHARE, ("0.20", "0.30"), (0, 1)),
        ((0.2, 1.5), SHARE, ("0.20", "1.50"), (0, 1.5)),
        ((2.001, 2.004), ANY_NUMBER, ("2.00100", "2.00400"), (2.001, 2.004)),
        ((100.0, 7000.0), (0.0, float("inf")), ("100", "7000"), (100, 7000)),
        ((3.0, 3.0), ANY_NUMBER, ("3.00", "3.00"), (3, 4)),
    ],
)
def test_colours_span_what_can_be_or_else_what_is(
    means: tuple[float, float], bounds: Bounds, texts: tuple[str, str], span: tuple[float, float]
) -> None:
    grid = dict(zip([("a", "1"), ("a", "2")], means, strict=True))
    figure = drawn(heat_map(grid, None, 1, bounds=bounds))
    assert tuple(text for text, _ in fields(figure).values()) == texts
    bar = figure.axes[-1]
    assert bar.get_ylim() == pytest.approx(span)
    assert bar.get_ylabel() == "accuracy (higher is better)"


def test_numbers_can_be_read_on_every_colour() -> None:
    """By the contrast that WCAG 2 asks of text, 4.5 to 1."""
    grid = {("a", str(at)): at / 20 for at in range(21)}
    ax = drawn(heat_map(grid)).axes[0]

    def luminance(colour: Any) -> float:
        c = np.array(to_rgb(colour))
        return float(
            np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    for patch, text in zip(ax.patches, ax.texts, strict=True):
        low, high = sorted([luminance(patch.get_facecolor()), luminance(text.get_color())])
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize(("rows", "columns", "panels"), [(1, 1, 1), (5, 4, 4), (12, 14, 1), (2, 3, 5)])
def test_numbers_stay_in_their_fields_and_parts_apart(rows: int, columns: int, panels: int) -> None:
    grid = {(f"row {r}", str(10**c)): 1000.0 * r + c for r in range(rows) for c in range(columns)}
    one = heat_map(grid, sd=12.5, bounds=ANY_NUMBER).panels[0]
    figure = drawn(
        heat_map(
            grid,
            bounds=ANY_NUMBER,
            title="A title that goes on and on, and has to be broken, as no figure is so wide",
            panels=[Panel({"rate": str(at)}, one.measured) for at in range(panels)],
        )
    )
    for ax in figure.axes[:panels]:
        for patch, text in zip(ax.patches, ax.texts, strict=True):
            inside, outside = text.get_window_extent(), patch.get_window_extent()
            assert outside.x0 <= inside.x0 and inside.x1 <= outside.x1
            assert outside.y0 <= inside.y0 and inside.y1 <= outside.y1
    title, caption = figure._suptitle, figure._supxlabel  # type: ignore[attr-defined]
    boxes = [ax.get_tightbbox() for ax in figure.axes] + [t.get_window_extent() for t in (title, caption)]
    assert len(figure.axes) == panels + 1, "one scale of colours for all panels"
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_a_sweep_draws_both_axes_with_means_over_its_seeds(tmp_path: Path) -> None:
    sweep = small_sweep(plot=Plot("examples", "policy", kind=Kind.HEAT_MAP))
    cells, results = results_of(
        sweep, tmp_path, lambda cell: {LOSS.name: cell.seed + 10.0 * (cell.labels["policy"] == "it")}
    )
    checked_cells(sweep)
    write_report(sweep, cells, results, tmp_path, "command")
    (figure,) = (tmp_path / "figures").glob("*.png")
    rows = read_csv(figure.with_suffix(".csv"))
    assert [(row["line"], row["point"], row["n"], float(row["mean"])) for row in rows] == [
        *(("im", label, "2", 0.5) for label in ("40", "80")),
        *(("it", label, "2", 10.5) for label in ("40", "80")),
    ]


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (Plot("examples", kind=Kind.HEAT_MAP), "has two axes; set plot.series to the other one"),
        (Plot("examples", "policy", Scale.LOG, kind=Kind.HEAT_MAP), "leave out plot.x_measure"),
        (Plot("examples", "policy", x_measure=Measure("x"), kind=Kind.HEAT_MAP), "leave out plot.x_measure"),
        (
            Plot("examples", "policy", references=[Reference("A", LOSS.name, {"40": 1.0})], kind=Kind.HEAT_MAP),
            "reference 'A': a heat map has no place for it",
        ),
    ],
)  # fmt: skip
def test_what_a_heat_map_cannot_show_is_refused(plot: Plot, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_cells(small_sweep(plot=plot))


def test_a_kind_by_its_name_is_refused() -> None:
    plot = Plot("examples", "policy")
    object.__setattr__(plot, "kind", "heat map")
    with pytest.raises(ConfigError, match=r"plot\.kind='heat map' is str; it must be Kind"):
        checked_cells(small_sweep(plot=plot))


def test_the_same_numbers_make_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert draw(heat_map(GRID), tmp_path / name) == tmp_path / name / "accuracy.png"
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
