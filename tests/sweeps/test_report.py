"""The report says what was run and what came out, and its numbers are also there for programs."""

import csv
from pathlib import Path

import numpy as np
import pytest

from im_jax.sweeps.aggregation import group
from im_jax.sweeps.cells import expand
from im_jax.sweeps.charts import of_measure
from im_jax.sweeps.definition import Plot, Reference, Scale, over
from im_jax.sweeps.figures import figure_of
from im_jax.sweeps.report import write_report
from tests.sweeps.small import LOSS, CountingRunner, run_small, small_sweep

SWEEP = small_sweep(
    plot=Plot(
        x="examples",
        series="policy",
        x_scale=Scale.LOG,
        references=[Reference("Table 2", LOSS.name, {"40": 1.25, "60": 1.5}, "im")],
    )
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of which one run failed."""
    path = tmp_path_factory.mktemp("sweep")
    fails = CountingRunner(fails=lambda c: (c.loss.policy, c.data.num_generated, c.seed) == ("it", 88, 1))
    results = run_small(path, fails, expand(SWEEP))
    write_report(SWEEP, expand(SWEEP), results, path, "python -m im_jax.sweep --config=small.py")
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_report_says_what_was_run(workdir: Path) -> None:
    text = (workdir / "report.md").read_text(encoding="utf-8")
    assert text.startswith(
        "# A small sweep\n\nFor tests.\n\n- Command: `python -m im_jax.sweep --config=small.py`\n"
    )
    assert "- Runs: 8: 7 finished, 1 failed, 0 not run yet\n" in text
    assert "| policy   | im    | `loss.policy=im`        |\n" in text
    assert "| examples | 80    | `data.num_generated=88` |\n" in text
    assert "| seed     | 0, 1  | `seed`                  |\n" in text
    assert "| `optimizer.learning_rate`  | `0.003`" in text
    assert "`optimizer.weight_decay`" not in text, "only what is not the default"
    assert "| it, " not in text
    assert "policy=it, examples=80, seed=1 | the loss is inf |" in text


def test_report_shows_means_and_paired_differences(workdir: Path) -> None:
    text = (workdir / "report.md").read_text(encoding="utf-8")
    # Losses are num_generated / 100 + seed / 8, and 1 more for `it`: a deviation of sqrt(2) / 16.
    assert (
        "| policy | examples | runs   | loss of answers (nats, lower is better) |\n"
        "| ------ | -------- | ------ | --------------------------------------- |\n"
        "| im     | 40       | 2 of 2 | 0.542 ± 0.088                           |\n"
        "| im     | 80       | 2 of 2 | 0.942 ± 0.088                           |\n"
        "| it     | 40       | 2 of 2 | 1.542 ± 0.088                           |\n"
        "| it     | 80       | 1 of 2 | 1.880                                   |\n"
    ) in text
    assert "## im minus it, seed by seed" in text
    assert "| 40       | 2     | -1.000 ± 0.000 (-1.000 to -1.000) |\n" in text
    assert "| 80       | 1     | -1.000                            |\n" in text
    assert "![heldout.nll_assistant](figures/heldout.nll_assistant.png)" in text


def test_numbers_are_there_with_full_precision(workdir: Path) -> None:
    rows = read_csv(workdir / "table.csv")
    first, paired = rows[0], rows[4]
    assert (first["policy"], first["examples"], first["measure"], first["n"]) == ("im", "40", LOSS.name, "2")
    assert float(first["mean"]) == 0.48 + 1 / 16
    assert float(first["sd"]) == pytest.approx(2**0.5 / 16)
    assert (paired["policy"], float(paired["mean"]), paired["n"]) == ("im - it", -1.0, "2")


def test_figure_has_its_numbers_beside_it_with_the_references(workdir: Path) -> None:
    picture = workdir / "figures" / "heldout.nll_assistant.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000
    rows = read_csv(picture.with_suffix(".csv"))
    assert [(row["line"], row["kind"], row["x"], row["n"]) for row in rows] == [
        ("im", "measured", "40", "2"),
        ("im", "measured", "80", "2"),
        ("it", "measured", "40", "2"),
        ("it", "measured", "80", "1"),
        ("im, Table 2", "reference", "40", ""),
        ("im, Table 2", "reference", "60", ""),
    ]
    assert float(rows[-1]["mean"]) == 1.5


@pytest.mark.parametrize("scale", [Scale.LINEAR, Scale.LOG])
@pytest.mark.parametrize("x", ["examples", "policy"])
def test_figure_shows_every_point(x: str, scale: Scale, tmp_path: Path) -> None:
    """Near its place, apart from those of other lines, and inside the frame."""
    series, numeric = ("policy", True) if x == "examples" else ("examples", False)
    if not numeric:
        scale = Scale.LINEAR
    sweep = small_sweep(plot=Plot(x=x, series=series, x_scale=scale))
    groups = group(expand(sweep), run_small(tmp_path, CountingRunner(), expand(sweep)))
    assert sweep.plot is not None
    figure = figure_of(of_measure(sweep, sweep.plot, LOSS, groups))
    figure.draw_without_rendering()
    (ax,) = figure.axes
    drawn = np.array([line.get_xydata() for line, *_ in ax.containers])
    statistics = [g.statistic(LOSS).mean for g in groups]
    means = np.reshape(statistics, (2, 2)) if numeric else np.reshape(statistics, (2, 2)).T
    np.testing.assert_array_equal(drawn[:, :, 1], means)
    np.testing.assert_allclose(drawn[:, :, 0], [[40, 80] if numeric else [0, 1]] * 2, atol=0.5)
    assert np.all(drawn[0, :, 0] < drawn[1, :, 0])
    low, high = ax.get_xlim()
    assert np.all((low < drawn[:, :, 0]) & (drawn[:, :, 0] < high))


def test_sweep_without_figures_or_with_panels_has_its_report(tmp_path: Path) -> None:
    axes = {**small_sweep().axes, "rate": over("optimizer.learning_rate", 0.001, 0.002, 0.003, 0.004)}
    for name, changes in {
        "none": {"plot": None},
        "panels": {"axes": axes, "plot": Plot(x="policy")},
        "one": {"axes": {"policy": over("loss.policy", "im")}, "plot": Plot(x="policy")},
    }.items():
        sweep = small_sweep(**changes)
        cells = expand(sweep)
        results = run_small(tmp_path / name, CountingRunner(), cells)
        write_report(sweep, cells, results, tmp_path / name, "command")
        assert "## Results" in (tmp_path / name / "report.md").read_text()
        assert (tmp_path / name / "figures").exists() == (name != "none")
    panels = {row["panel"] for row in read_csv(tmp_path / "panels" / "figures" / "heldout.nll_assistant.csv")}
    assert len(panels) == 8 and "examples=40, rate=0.001" in panels


def test_rows_of_other_sweeps_and_numbers_that_are_missing_are_mentioned(tmp_path: Path) -> None:
    results = run_small(tmp_path, CountingRunner())
    sweep = small_sweep(seeds=(0,), measures=(LOSS, type(LOSS)("heldout.loss")))
    write_report(sweep, expand(sweep), results, tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    assert "4 rows of results.jsonl, of no run of this sweep" in text
    assert "`heldout.loss` is not a number in 4 of 4 finished runs." in text
