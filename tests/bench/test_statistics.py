"""From times by round to a table: order, ratios, shares and differences."""

import json
from collections import Counter

import numpy as np
import pytest

from im_jax.bench import report
from im_jax.bench.case import Case
from im_jax.bench.contestant import describe, difference
from im_jax.bench.rounds import Measurement, Outcome, rotated
from im_jax.bench.statistics import matmul_rate, rows, summarise

CASE = Case("cross_entropy", (8, 4, 6), "float32")


def outcome(name: str, seconds: list[float], **values: object) -> Outcome:
    return Outcome(name, "ready", seconds=seconds, values=values)


def measurement(*outcomes: Outcome, **expected: object) -> Measurement:
    return Measurement(CASE, list(outcomes), Outcome("reference", "ready", values=expected), [], (0.0, 0.0))


def test_every_contestant_takes_every_place_equally_often() -> None:
    names = ["a", "b", "c"]
    orders = [rotated(names, number) for number in range(6)]
    assert all(sorted(order) == names for order in orders)
    for place in range(3):
        assert Counter(order[place] for order in orders) == {"a": 2, "b": 2, "c": 2}
    assert rotated([], 4) == []


def test_summary_has_percentiles_and_both_ratios() -> None:
    seconds, baseline = [1.0, 2.0, 4.0], [4.0, 2.0, 2.0]
    summary = summarise(seconds, baseline)
    assert (summary.median, summary.p10, summary.p90) == pytest.approx((2.0, 1.2, 3.6))
    assert summary.ratio == pytest.approx(1.0)  # median of 4, 1 and 0.5
    assert summary.ratio_of_medians == pytest.approx(1.0)
    assert summarise([1.0, 1.0, 10.0], baseline).ratio == pytest.approx(2.0)  # of 4, 2 and 0.2
    assert summarise(seconds, None).ratio is None


def test_rates_are_shares_of_the_fastest_product_of_the_same_type() -> None:
    found = measurement(
        outcome("optax", [2.0]),
        outcome("matmul:jax:float32", [1.0], matmul_flops=10),
        outcome("matmul:torch:float32", [1.0], matmul_flops=20),
        outcome("matmul:torch:bfloat16", [1.0], matmul_flops=99),
        flops=8,
    )
    assert matmul_rate(found) == ("matmul:torch:float32", 20.0)
    optax, *matmuls = rows(found)
    assert (optax.rate, optax.share) == pytest.approx((4.0, 0.2))
    assert [row.share for row in matmuls] == pytest.approx([0.5, 1.0, 4.95])
    assert all(row.summary.ratio is None for row in matmuls)  # no contest with another kind of work


def test_a_training_steps_losses_are_compared_with_the_baselines() -> None:
    found = measurement(
        outcome("im_jax", [1.0], losses=[2.0, 1.0]), outcome("transformers", [1.0], losses=[2.0, 1.1])
    )
    found.case = Case("train_step", (2, 8), "float32")
    expected = 0.1 / np.hypot(2.0, 1.1)
    assert [row.differences["losses"] for row in rows(found)] == pytest.approx([expected, 0.0])


def test_rewrites_have_sequences_by_second_and_answers_like_the_baselines() -> None:
    found = measurement(
        outcome("im_jax", [0.5], answers=[1, 2, 3]), outcome("transformers", [1.0], answers=[1, 2, 3])
    )
    found.case = Case("rewrites", (8, 6, 2), "float32", model=(2, 4, 64), work="evaluate")
    assert [row.differences["answers"] for row in rows(found)] == [0.0, 0.0]
    text = "\n".join(report.as_text(report.header("", rounds=1), iter([found])))
    assert "## rewrites 8x6x2, float32, model 2x4x64, evaluate" in text
    titles, ours = (
        [cell.strip() for cell in line.split("|")]
        for line in text.splitlines()
        if line.startswith(("| m", "| i"))
    )
    assert dict(zip(titles, ours, strict=True))["sequences/s"] == "16"


def test_differences_show_a_wrong_entry_and_a_wrong_scale() -> None:
    array = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    same, scaled, shuffled = (describe("x", x) for x in (array, 1.01 * array, array[::-1]))
    assert same["x_norm"] == pytest.approx(np.linalg.norm(array.astype(np.float64)))
    assert difference(same, same) == {"x": 0.0}
    assert difference(scaled, same)["x"] == pytest.approx(0.01, rel=1e-5)
    assert difference(shuffled, same)["x"] > 0.5


def test_samples_come_from_the_rows_and_columns_that_are_not_zero() -> None:
    array = np.zeros((100, 100), np.float32)
    array[3, 7] = 2.0
    assert set(describe("x", array, np.array([3]), np.array([7]))["x_samples"]) == {2.0}


def test_nothing_is_left_out_of_a_report() -> None:
    found = measurement(
        outcome("optax", [2.0]),
        Outcome("liger", "not installed", "liger_kernel"),
        Outcome("broken", "failed", "ValueError: why", seconds=[1.0]),
    )
    facts = report.header("python -m im_jax.bench cross_entropy", rounds=1)
    text = "\n".join(report.as_text(facts, iter([found])))
    assert "- liger: not installed: liger_kernel" in text
    assert "- broken: failed: ValueError: why" in text and "| broken" not in text
    assert "| optax" in text
    read = json.loads("".join(report.as_json(facts, iter([found]))))
    assert [o["name"] for o in read["cases"][0]["outcomes"]] == ["optax", "liger", "broken"]
    assert list(read["cases"][0]["rows"]) == ["optax"]
    assert {"date", "command", "cpu", "cores"} <= read["header"].keys()
