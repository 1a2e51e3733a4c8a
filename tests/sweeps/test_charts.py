"""Figures over a measured x, and of rows of numbers: what is drawn where, and the numbers beside it."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from im_jax.sweeps.aggregation import Group, group
from im_jax.sweeps.cells import Cell, expand
from im_jax.sweeps.charts import Chart, of_measure, of_profile
from im_jax.sweeps.definition import Better, Measure, Plot, Profile, Reference, Scale, Sweep, over
from im_jax.sweeps.figures import draw, figure_of
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import Result, ResultsFile, Status
from tests.sweeps.small import LOSS, small_sweep

RULES = Measure("rules", "effective number of rules")
PROFILE = Profile(
    "accuracy by occurrences",
    x="occurrences",
    points={"1": "unseen/1", "5": "unseen/5"},
    unit="share",
    better=Better.HIGHER,
    x_scale=Scale.LOG,
)


def results_of(
    sweep: Sweep, directory: Path, numbers: Callable[[Cell], dict[str, float]]
) -> tuple[list[Cell], ResultsFile]:
    """Rows of runs that all finished, with these numbers."""
    directory.mkdir(exist_ok=True)
    results, cells = ResultsFile(directory / "results.jsonl"), expand(sweep)
    for cell in cells:
        results.put(Result(cell.labels, cell.seed, cell.hash, Status.FINISHED, 1.0, summary=numbers(cell)))
    return cells, results


def groups_of(sweep: Sweep, directory: Path, numbers: Callable[[Cell], dict[str, float]]) -> list[Group]:
    return group(*results_of(sweep, directory, numbers))


def measured_x(cell: Cell) -> dict[str, float]:
    """The more examples, the fewer effective rules: 31 and 29, 11 and 9. `it` has none."""
    rules = {"40": 30, "80": 10}[cell.labels["examples"]] + (1 if cell.seed else -1)
    return {LOSS.name: rules / 100} | ({"rules": rules} if cell.labels["policy"] == "im" else {})


def occurrences(cell: Cell) -> dict[str, float]:
    """Accuracies that differ in everything."""
    start = cell.config.data.num_generated / 1000 + cell.seed / 100 + (cell.labels["policy"] == "it") / 2
    return {LOSS.name: 1.0, "unseen/1": start, "unseen/5": start / 2}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_points_are_drawn_at_what_was_measured_from_left_to_right(tmp_path: Path) -> None:
    references = [Reference("Table 2", LOSS.name, {"20": 0.25}, "im")]
    plot = Plot("examples", "policy", Scale.LOG, references, x_measure=RULES)
    sweep = small_sweep(plot=plot)
    chart = of_measure(sweep, plot, LOSS, groups_of(sweep, tmp_path, measured_x))
    assert chart.x == "effective number of rules"
    picture = draw(chart, tmp_path / "figures")
    assert picture is not None
    rows = read_csv(picture.with_suffix(".csv"))
    assert [(row["line"], row["point"], row["x"], row["n"]) for row in rows] == [
        ("im", "80", "10.0", "2"),
        ("im", "40", "30.0", "2"),
        ("im, Table 2", "20", "20", ""),
    ]
    assert [float(row["mean"]) for row in rows] == pytest.approx([0.1, 0.3, 0.25])
    (ax,) = figure_of(chart).axes
    assert ax.get_xscale() == "log"
    line, *_ = ax.containers[0]
    assert line.get_xdata() == pytest.approx([10, 30], rel=0.05)


def test_log_scale_gives_way_where_a_measured_x_is_zero(tmp_path: Path) -> None:
    plot = Plot("examples", x_scale=Scale.LOG, x_measure=RULES)
    sweep = small_sweep(plot=plot, axes={"examples": small_sweep().axes["examples"]})
    groups = groups_of(
        sweep, tmp_path, lambda cell: {LOSS.name: 1.0, "rules": cell.labels["examples"] == "80"}
    )
    assert of_measure(sweep, plot, LOSS, groups).is_empty(), "True is no number"
    groups = groups_of(
        sweep, tmp_path, lambda cell: {LOSS.name: 1.0, "rules": float(cell.labels["examples"]) - 40}
    )
    figure = figure_of(of_measure(sweep, plot, LOSS, groups))
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert ax.get_xscale() == "linear"


def test_report_has_a_table_and_a_figure_of_a_profile(tmp_path: Path) -> None:
    sweep = small_sweep(profiles=(PROFILE,))
    cells, results = results_of(sweep, tmp_path, occurrences)
    write_report(sweep, cells, results, tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    # num_generated / 1000 + seed / 100, and 0.5 more for `it`; half of it at 5 occurrences.
    assert (
        "## accuracy by occurrences (share, higher is better)\n\n"
        "| policy | examples | occurrences 1   | occurrences 5   |\n"
        "| ------ | -------- | --------------- | --------------- |\n"
        "| im     | 40       | 0.0530 ± 0.0071 | 0.0265 ± 0.0035 |\n"
        "| im     | 80       | 0.0930 ± 0.0071 | 0.0465 ± 0.0035 |\n"
        "| it     | 40       | 0.5530 ± 0.0071 | 0.2765 ± 0.0035 |\n"
        "| it     | 80       | 0.5930 ± 0.0071 | 0.2965 ± 0.0035 |\n\n"
        "![accuracy_by_occurrences](figures/accuracy_by_occurrences.png)\n"
    ) in text
    rows = read_csv(tmp_path / "figures" / "accuracy_by_occurrences.csv")
    assert [(row["panel"], row["line"], row["x"]) for row in rows] == [
        (f"examples={examples}", policy, x)
        for examples in ("40", "80")
        for policy in ("im", "it")
        for x in "15"
    ]
    assert [float(row["mean"]) for row in rows[:4]] == pytest.approx([0.053, 0.0265, 0.553, 0.2765])
    runs = read_csv(tmp_path / "runs.csv")
    assert [(row["policy"], row["examples"], row["seed"]) for row in runs] == [
        (policy, examples, seed) for policy in ("im", "it") for examples in ("40", "80") for seed in "01"
    ]
    for row in runs:
        count = int(row["examples"]) + 8
        occurrence = count / 1000 + int(row["seed"]) / 100 + 0.5 * (row["policy"] == "it")
        assert float(row["unseen/1"]) == pytest.approx(occurrence, rel=1e-5)
        assert float(row["unseen/5"]) == pytest.approx(occurrence / 2, rel=1e-5)
        assert row["hash"] in {cell.hash for cell in cells}
    measures = [row["measure"] for row in read_csv(tmp_path / "table.csv") if row["policy"] == "im"]
    assert measures == [LOSS.name, "unseen/1", "unseen/5"] * 2


@pytest.mark.parametrize("plot", [None, Plot(x="examples")])
def test_without_a_series_all_combinations_are_lines_of_one_panel(plot: Plot | None, tmp_path: Path) -> None:
    sweep = small_sweep(profiles=(PROFILE,), plot=plot)
    chart = of_profile(sweep, PROFILE, groups_of(sweep, tmp_path, occurrences))
    figure = figure_of(chart)
    labels = [
        "policy=im, examples=40",
        "policy=im, examples=80",
        "policy=it, examples=40",
        "policy=it, examples=80",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels
    assert len({to_hex(line.get_color()) for line, *_ in figure.axes[0].containers}) == 4
    for axes, lines in (({}, ["measured"]), ({"policy": over("loss.policy", "im", "it")}, ["im", "it"])):
        sweep = small_sweep(profiles=(PROFILE,), plot=None, axes=axes)
        groups = groups_of(sweep, tmp_path / str(len(axes)), lambda _: {"unseen/1": 0.5})
        (panel,) = of_profile(sweep, PROFILE, groups).panels
        assert [line.title for line in panel.lines] == lines


def test_profile_that_no_run_has_is_named_and_not_drawn(tmp_path: Path) -> None:
    sweep = small_sweep(profiles=(PROFILE,))
    cells, results = results_of(sweep, tmp_path, lambda _: {LOSS.name: 1.0})
    write_report(sweep, cells, results, tmp_path, "command")
    assert not (tmp_path / "figures" / "accuracy_by_occurrences.png").exists()
    text = (tmp_path / "report.md").read_text()
    assert "`unseen/5` is not a number in 8 of 8 finished runs." in text


def drawn(chart: Chart) -> dict[str, list[tuple[str, str]]]:
    """Titles and colours of the references, by panel."""
    return {
        ax.get_title(): [
            (container.get_label(), to_hex(container[0].get_color()))
            for container in ax.containers
            if container[0].get_linestyle() == "--"
        ]
        for ax in figure_of(chart).axes
    }


def test_references_are_drawn_in_their_colour_where_they_belong(tmp_path: Path) -> None:
    im, it, none = "#0072b2", "#d55e00", to_hex("0.4")
    references = [
        Reference("all", PROFILE.title, {"1": 0.5}),
        Reference("its own", PROFILE.title, {"1": 0.5, "3": 0.4}, "it"),
        Reference("one", PROFILE.title, {"1": 0.5}, "im", panel={"examples": "40"}),
        Reference("of losses", LOSS.name, {"40": 1.0}, "im"),
    ]
    plot = Plot(x="examples", series="policy", references=references)
    sweep = small_sweep(profiles=(PROFILE,), plot=plot)
    groups = groups_of(sweep, tmp_path, occurrences)
    common = [("all", none), ("it, its own", it)]
    assert drawn(of_profile(sweep, PROFILE, groups)) == {
        "examples=40": [*common, ("im, one", im)],
        "examples=80": common,
    }
    assert drawn(of_measure(sweep, plot, LOSS, groups)) == {"": [("im, of losses", im)]}
    without = dataclasses.replace(sweep, where=lambda labels: labels != {"policy": "it", "examples": "80"})
    groups = groups_of(without, tmp_path, occurrences)
    assert drawn(of_profile(without, PROFILE, groups))["examples=80"] == [("all", none)]
