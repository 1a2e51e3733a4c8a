"""Settings that are compared: intervals and lines are SciPy's, and the report says what each number is."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from im_jax.data.report import fits
from im_jax.errors import ConfigError
from im_jax.sweeps import gains
from im_jax.sweeps.aggregation import group, pair
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import NOT_NEGATIVE, Better, Comparison, Gain, Measure, Plot, Sweep, over
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import Result, ResultsFile, Status
from tests.sweeps.small import LOSS, small_sweep

IM_IT = Comparison("policy", "im", "it")
WINS = Measure("wins", "win rate", "%", Better.HIGHER, NOT_NEGATIVE)
RATIO = Measure("ratio", "ratio", bounds=NOT_NEGATIVE)


def made_up(sweep: Sweep, path: Path) -> ResultsFile:
    """Every run with drawn numbers."""
    rng, results = np.random.default_rng(0), ResultsFile(path / "results.jsonl")
    for cell in expand(sweep):
        examples = float(cell.labels["examples"])
        summary = {
            LOSS.name: 2 + float(rng.normal()) / 10,
            "wins": 20 + 5 * float(rng.uniform()) + (cell.labels["policy"] == "im") * np.log(examples),
            "ratio": examples / 10 + (cell.labels["policy"] == "im") / 5,
            "fingerprint": str(cell.seed),
        }
        results.put(Result(cell.labels, cell.seed, cell.hash, Status.FINISHED, 1.0, summary=summary))
    return results


def examples(*counts: int) -> dict[str, Any]:
    return {str(count): {"data.num_generated": count + 8} for count in counts}


def swept(**changes: Any) -> Sweep:
    axes = {"policy": over("loss.policy", "im", "it"), "examples": examples(40, 80, 160, 320)}
    measures = (WINS, LOSS)
    return small_sweep(axes=axes, measures=measures, seeds=(0, 1, 2, 3), **changes)


def values(sweep: Sweep, results: ResultsFile, policy: str, count: str, name: str) -> np.ndarray:
    rows = [
        results.get(c.hash) for c in expand(sweep) if dict(c.labels) == {"policy": policy, "examples": count}
    ]
    return np.asarray([row.summary[name] for row in rows if row])


def test_interval_and_p_of_a_difference_are_those_of_a_paired_t_test(tmp_path: Path) -> None:
    sweep = swept()
    results = made_up(sweep, tmp_path)
    pairs = pair(sweep, group(expand(sweep), results))
    assert [(p.comparison, p.labels["examples"]) for p in pairs] == [
        (IM_IT, str(n)) for n in (40, 80, 160, 320)
    ]
    for each in pairs:
        count = each.labels["examples"]
        expected = stats.ttest_rel(
            *(values(sweep, results, policy, count, "wins") for policy in ("im", "it"))
        )
        found = each.verdict(WINS)
        assert found is not None and found.p == pytest.approx(expected.pvalue)
        assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    write_report(sweep, expand(sweep), results, tmp_path, "command")
    with (tmp_path / "table.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["policy"] == "im - it"]
    assert len(lines) == 8
    assert float(lines[0]["low"]) == pytest.approx(pairs[0].verdict(WINS).interval.low)  # type: ignore[union-attr]
    first = (tmp_path / "report.md").read_text().partition("## im minus it, seed by seed")[2]
    row = next(line for line in first.splitlines() if line.startswith("| 40 "))
    assert row.count(" to ") == 2 and "95 % interval of the mean over seeds" in first


def test_one_pair_has_no_interval(tmp_path: Path) -> None:
    sweep = small_sweep(seeds=(0,))
    (first, _) = pair(sweep, group(expand(sweep), made_up(sweep, tmp_path)))
    assert first.statistic(LOSS).n == 1 and first.verdict(LOSS) is None


def test_settings_of_an_axis_with_more_points_are_compared_by_name(tmp_path: Path) -> None:
    axes = {"policy": over("loss.policy", "im", "it", "all"), "examples": examples(40, 80)}
    sweep = small_sweep(axes=axes, comparisons=(IM_IT, Comparison("policy", "all", "it")), plot=None)
    write_report(sweep, checked_cells(sweep), made_up(sweep, tmp_path), tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    assert "## im minus it, seed by seed" in text and "## all minus it, seed by seed" in text
    assert "all - it,40,heldout.nll/assistant,2," in (tmp_path / "table.csv").read_text()


def test_gains_are_in_per_cent_of_the_second_run_of_each_pair(tmp_path: Path) -> None:
    gain = Gain("wins", x="examples", fit=fits.SIZE)
    sweep = swept(gains=(gain,))
    results = made_up(sweep, tmp_path)
    rows = gains.rows(sweep, gain, pair(sweep, group(expand(sweep), results)))
    assert [row.x for row in rows] == [40, 80, 160, 320]
    im, it = (values(sweep, results, policy, "80", "wins") for policy in ("im", "it"))
    each = 100 * (im / it - 1)
    assert rows[1].statistic == (4, pytest.approx(each.mean()), pytest.approx(each.std(ddof=1)))

    line = gains.fitted(rows)[""]
    expected = stats.linregress(np.log([row.x for row in rows]), [row.statistic.mean for row in rows])
    assert (line.slope, line.intercept) == (pytest.approx(expected.slope), pytest.approx(expected.intercept))
    half = stats.t.ppf(0.975, 2) * expected.stderr
    assert line.slope_interval == pytest.approx((expected.slope - half, expected.slope + half))

    write_report(sweep, checked_cells(sweep), results, tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    assert "## Gain of im over it in win rate, by examples" in text
    assert f"Least squares through the 4 means: {line.text}" in text
    assert "(Shi et al. 2024, figure 2), dashed: -39.37 ln(x) +431.74, of its own measure" in text
    assert "![gain.wins.examples](figures/gain.wins.examples.png)" in text
    with (tmp_path / "figures/gain.wins.examples.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert [row["kind"] for row in drawn] == ["measured"] * 4 + ["reference"] * 4
    published = {float(row["x"]): float(row["mean"]) for row in drawn[-2:]}
    assert published == {x: pytest.approx(-39.37 * np.log(x) + 431.74) for x in (1000, 35000)}


def test_gains_by_a_measured_x_are_at_its_mean_over_both(tmp_path: Path) -> None:
    gain = Gain(LOSS.name, x="examples", x_measure=RATIO, fit=fits.RATIO)
    lower = Measure(LOSS.name, "loss", "nats", Better.LOWER, NOT_NEGATIVE)
    sweep = small_sweep(measures=(lower,), gains=(gain,))
    results = made_up(sweep, tmp_path)
    rows = gains.rows(sweep, gain, pair(sweep, group(expand(sweep), results)))
    assert [row.x for row in rows] == [pytest.approx(4.1), pytest.approx(8.1)]
    im, it = (values(sweep, results, policy, "40", LOSS.name) for policy in ("im", "it"))
    assert rows[0].statistic.mean == pytest.approx((100 * (it - im) / it).mean()), "a lower loss is a gain"
    assert gains.fitted(rows) == {}, "two points lie on a line in any case"
    write_report(sweep, checked_cells(sweep), results, tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    assert "100 (it - im) / it of the two runs" in text and "Least squares" not in text
    assert "18.85 ln(x) +25.83" in text


def test_pairs_without_a_base_have_no_gain(tmp_path: Path) -> None:
    sweep = small_sweep(measures=(WINS,), gains=(Gain("wins", x="examples"),))
    results = ResultsFile(tmp_path / "results.jsonl")
    for cell in expand(sweep):
        results.put(Result(cell.labels, cell.seed, cell.hash, Status.FINISHED, 1.0, summary={"wins": 0.0}))
    write_report(sweep, checked_cells(sweep), results, tmp_path, "command")
    assert "## Gain" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comparisons": (Comparison("polcy", "im", "it"),)}, "'polcy' is no axis; did you mean policy?"),
        ({"comparisons": (Comparison("policy", "im", "all"),)}, "'all' is no point of policy"),
        ({"comparisons": (Comparison("policy", "im", "im"),)}, "they are the same; name two points"),
        ({"comparisons": (IM_IT, IM_IT)}, "comparisons has one twice"),
        ({"comparisons": ("im",)}, "comparisons holds 'im', which is str; it must be Comparison"),
        (
            {"gains": (Gain("winz", x="examples"),)},
            "gain in winz: there is no such measure; did you mean wins?",
        ),
        ({"gains": (Gain(LOSS.name, x="examples"),)}, "say what it can be, as bounds=NOT_NEGATIVE"),
        ({"gains": (Gain("wins", x="policy"),)}, "gain in wins: x='policy' is none of the axes examples"),
        ({"gains": (Gain("wins", x="examples"),), "plot": None}, "the sweep has 0 comparisons"),
        (
            {"gains": (Gain("wins", x="examples", comparison=Comparison("policy", "it", "im")),)},
            "its comparison is none of the sweep",
        ),
        ({"gains": (Gain("wins", x="examples"),) * 2}, "its figure would be gain.wins.examples.png, as that"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked_cells(swept(**changes))
    assert message in str(error.value)


def test_labels_that_are_no_numbers_need_a_measured_x() -> None:
    axes = {"policy": over("loss.policy", "im", "it"), "data": {"few": {"data.num_generated": 48}}}
    changes: dict[str, Any] = {"axes": axes, "measures": (WINS,), "plot": Plot("data", "policy")}
    with pytest.raises(ConfigError, match="not every label of data is a number above 0"):
        checked_cells(small_sweep(gains=(Gain("wins", x="data"),), **changes))
    checked_cells(small_sweep(gains=(Gain("wins", x="data", x_measure=RATIO),), **changes))
