"""Statistics over seeds are those of NumPy, over what finished."""

from pathlib import Path

import numpy as np
import pytest

from im_jax.sweeps.aggregation import group, measured, pair, statistic
from im_jax.sweeps.cells import expand
from im_jax.sweeps.definition import Measure, over
from im_jax.sweeps.results import Result, ResultsFile, Status
from tests.sweeps.small import LOSS, small_sweep


def results_of(path: Path, losses: dict[str, float | None], **changes: object) -> ResultsFile:
    """Rows by the names of cells; None is a failed run."""
    results = ResultsFile(path)
    for cell in expand(small_sweep(**changes)):
        if cell.name in losses:
            loss = losses[cell.name]
            status = Status.FAILED if loss is None else Status.FINISHED
            summary = {} if loss is None else {LOSS.name: loss, "fingerprint": str(cell.config.seed)}
            results.put(Result(cell.labels, cell.seed, cell.hash, status, 1.0, summary=summary))
    return results


def test_mean_and_deviation_are_those_of_a_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sweep = small_sweep(seeds=(0, 1, 2))
    losses = {cell.name: float(rng.normal()) for cell in expand(sweep)}
    groups = group(expand(sweep), results_of(tmp_path / "r.jsonl", losses, seeds=(0, 1, 2)))
    assert [tuple(g.labels.values()) for g in groups] == [
        ("im", "40"),
        ("im", "80"),
        ("it", "40"),
        ("it", "80"),
    ]
    for one in groups:
        name = ", ".join(f"{axis}={label}" for axis, label in one.labels.items())
        values = np.array([losses[f"{name}, seed={seed}"] for seed in (0, 1, 2)])
        n, mean, sd = one.statistic(LOSS)
        assert n == 3 and mean == pytest.approx(values.sum() / 3)
        assert sd == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 2))


def test_differences_are_taken_seed_by_seed(tmp_path: Path) -> None:
    sweep = small_sweep(seeds=(0, 1, 2))
    losses: dict[str, float | None] = {
        "policy=im, examples=40, seed=0": 10.0,
        "policy=it, examples=40, seed=0": 11.0,
        "policy=im, examples=40, seed=1": 20.0,
        "policy=it, examples=40, seed=1": 23.0,
        "policy=im, examples=40, seed=2": None,
        "policy=it, examples=40, seed=2": 99.0,
        "policy=im, examples=80, seed=0": 1.0,
    }
    results = results_of(tmp_path / "r.jsonl", losses, seeds=(0, 1, 2))
    first, second = pair(sweep, group(expand(sweep), results))
    assert first.labels == {"examples": "40"} and first.same_data()
    assert first.statistic(LOSS) == (2, -2.0, pytest.approx(2**0.5))
    assert second.statistic(LOSS) == (0, None, None)


def test_pairs_need_a_series_axis_of_two_points(tmp_path: Path) -> None:
    axes = {"policy": over("loss.policy", "im", "it", "all"), "examples": small_sweep().axes["examples"]}
    for sweep in (small_sweep(plot=None), small_sweep(axes=axes)):
        assert pair(sweep, group(expand(sweep), ResultsFile(tmp_path / "none.jsonl"))) == []


def test_one_number_has_no_deviation_and_none_no_mean() -> None:
    assert statistic([2.5]) == (1, 2.5, None)
    assert statistic([]) == (0, None, None)


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), {}])
def test_what_is_no_number_does_not_count(value: object) -> None:
    row = Result({}, 0, "a", Status.FINISHED, 1.0, summary={"x": value})
    assert measured(row, Measure("x")) is None
    assert measured(row, Measure("y")) is None
