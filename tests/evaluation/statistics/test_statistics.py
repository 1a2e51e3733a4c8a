"""Intervals and tests against enumeration, simulation and formulas written out."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from im_jax.errors import ConfigError, DataError
from im_jax.evaluate import compare as door
from im_jax.evaluation.items import Item, read_items, write_items
from im_jax.evaluation.results import Part, Score, read_scores, write_results
from im_jax.evaluation.statistics import intervals
from im_jax.evaluation.statistics.estimates import Sample, estimate
from im_jax.evaluation.statistics.paired import Run, Side, compare, difference


def sample(
    values: list[float], clusters: list[str] | None = None, weight: float = 1.0, of: str = "t"
) -> Sample:
    names = clusters or [f"{of}/{i}" for i in range(len(values))]
    return Sample(np.array(values, float), np.ones(len(values)), names, weight)


def test_the_standard_error_of_independent_items_is_the_textbooks() -> None:
    values = [1.0, 0.0, 0.0, 1.0, 1.0, 0.5]
    found = estimate([sample(values)])
    assert found.value == pytest.approx(np.mean(values))
    assert found.stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(6))


def test_items_of_a_cluster_count_as_one_where_they_agree() -> None:
    once, names = [1.0, 0.0, 0.25, 0.75], ["a", "b", "c", "d"]
    twice = estimate([sample([*once, *once], [*names, *names])])
    assert twice.stderr == pytest.approx(estimate([sample(once)]).stderr)
    assert (twice.items, twice.clusters) == (8, 4)


def test_the_clustered_error_is_that_of_the_means_of_many_draws_of_clusters() -> None:
    rng = np.random.default_rng(0)

    def draw() -> Sample:
        shared = rng.normal(size=(200, 1))
        return sample(
            (shared + 0.5 * rng.normal(size=(200, 3))).ravel().tolist(),
            [str(i) for i in range(200) for _ in range(3)],
        )

    found = [estimate([draw()]) for _ in range(300)]
    spread = np.std([each.value for each in found])
    assert np.mean([each.stderr for each in found]) == pytest.approx(spread, rel=0.1)
    naive = estimate([draw()._replace(clusters=[str(i) for i in range(600)])]).stderr
    assert naive < 0.75 * spread


def test_a_score_over_tasks_adds_their_variances_and_shared_clusters_their_influences() -> None:
    a, b = [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]
    apart = estimate([sample(a, weight=0.25), sample(b, weight=0.75, of="u")])
    errors = [estimate([sample(x)]).stderr for x in (a, b)]
    assert apart.value == pytest.approx(0.5)
    assert apart.stderr == pytest.approx(math.hypot(0.25 * errors[0], 0.75 * errors[1]))
    mixed = [0.25 * x + 0.75 * y for x, y in zip(a, b, strict=True)]
    together = estimate([sample(a, weight=0.25), sample(b, weight=0.75)])  # the same clusters
    assert together.stderr == pytest.approx(estimate([sample(mixed)]).stderr)


def test_the_error_of_a_ratio_of_sums_is_near_the_jackknife() -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(5, 40, 400).astype(float)
    edits = np.round(words * rng.uniform(0.2, 0.9, 400))
    found = estimate([Sample(edits, words, [str(i) for i in range(400)])])
    left = (edits.sum() - edits) / (words.sum() - words)
    jackknife = math.sqrt(399 / 400 * np.sum((left - left.mean()) ** 2))
    assert found.value == pytest.approx(edits.sum() / words.sum())
    assert found.stderr == pytest.approx(jackknife, rel=0.01)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (5, 5), (0, 8), (2, 7)])
def test_mcnemar_counts_all_outcomes(first: int, second: int) -> None:
    n = first + second
    outcomes = [sum(flips) for flips in itertools.product((0, 1), repeat=n)]
    as_far = sum(abs(2 * k - n) >= abs(first - second) for k in outcomes)
    assert intervals.mcnemar(first, second) == pytest.approx(as_far / 2**n)


def test_wilson_holds_the_rates_that_a_score_test_does_not_refuse() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (40, 273)):
        low, high = intervals.wilson(k, n)
        for p in (low, high):
            if 1e-9 < p < 1 - 1e-9:
                assert abs(k / n - p) / math.sqrt(p * (1 - p) / n) == pytest.approx(1.959964, rel=1e-5)
        assert low + 1e-12 >= 0 and high <= 1 + 1e-12 and low <= k / n + 1e-12


def test_holm_is_its_steps_written_out() -> None:
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert intervals.holm([]) == []


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    seen = intervals.detectable(0.1) + 0.1 * rng.normal(size=20_000)
    p = [intervals.two_sided(value, 0.1) for value in seen]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.01)


def evaluated(
    folder: Path, values: list[float], *, clusters: list[str] | None = None, prompts: str = "p"
) -> Path:
    """A folder as an evaluation leaves it, of one task."""
    names = clusters or [f"t/{i}" for i in range(len(values))]
    items = [Item(i, f"{prompts}{i}", names[i], {"acc,none": v}) for i, v in enumerate(values)]
    folder.mkdir()
    write_items(folder, "t", items)
    score = Score("t", "acc,none", float(np.mean(values)), None, len(values), (Part("t", "acc,none", 1.0),))
    write_results(folder, [score], {})
    return folder


def runs(*folders: Path) -> list[Run]:
    return [Run(folder, read_scores(folder)[0]) for folder in folders]


def test_items_and_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "a", [1.0, 0.0])
    assert [item.metrics["acc,none"] for item in read_items(folder, "t")] == [1.0, 0.0]
    assert read_scores(folder)[0].parts == (Part("t", "acc,none", 1.0),)
    (folder / "items" / "t.jsonl").write_text('{"doc_id": 0}\n')
    with pytest.raises(DataError, match=r"t\.jsonl:1 is no item of a task"):
        read_items(folder, "t")


def test_two_runs_are_compared_item_by_item(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a = (rng.random(120) < 0.5).astype(float)
    b = np.where(rng.random(120) < 0.1, 1 - a, a)
    folders = evaluated(tmp_path / "a", a.tolist()), evaluated(tmp_path / "b", b.tolist())
    found = compare(runs(folders[0]), runs(folders[1]))
    assert found is not None
    assert found.value == pytest.approx((b - a).mean())
    assert found.stderr == pytest.approx(np.std(b - a, ddof=1) / math.sqrt(120))
    assert found.test == "McNemar"
    assert found.p == pytest.approx(stats.binomtest(int((b > a).sum()), int((b != a).sum())).pvalue)
    assert found.interval.low < found.value < found.interval.high


def test_clusters_widen_a_comparison_and_take_the_exact_test_away(tmp_path: Path) -> None:
    a, b = [0.0] * 40, [1.0, 1.0, 0.0, 0.0] * 10
    pairs = [f"s/{i // 2}" for i in range(40)]
    folders = evaluated(tmp_path / "a", a, clusters=pairs), evaluated(tmp_path / "b", b, clusters=pairs)
    found = compare(runs(folders[0]), runs(folders[1]))
    assert found is not None and found.test == "paired z"
    of_pairs = np.array(b).reshape(20, 2).mean(axis=1)
    assert found.stderr == pytest.approx(np.std(of_pairs, ddof=1) / math.sqrt(20))


def test_seeds_widen_the_interval_of_items() -> None:
    """A simulation of seeds and items, both drawn: the interval holds the truth about as often as it says."""
    rng = np.random.default_rng(4)
    held, runs, k, n = 0, 400, 3, 80
    score = Score("t", "acc,none", 0.0, None, n, (Part("t", "acc,none", 1.0),))
    for _ in range(runs):
        easy, gain = rng.normal(0, 0.3, n), rng.normal(0.1, 0.4, n)
        sides = []
        for added in (0.0, gain):
            shift = rng.normal(0, 0.08, k)
            values = [easy + added + s + rng.normal(0, 0.1, n) for s in shift]
            sides.append(Side([[sample(v.tolist())] for v in values]))
        found = difference(score, *sides)
        held += found.interval.low <= 0.1 <= found.interval.high
    assert 0.9 <= held / runs <= 1.0


def test_other_prompts_or_items_are_refused_by_name(tmp_path: Path) -> None:
    a = evaluated(tmp_path / "a", [1.0, 0.0])
    b = evaluated(tmp_path / "b", [1.0, 0.0], prompts="q")
    c = evaluated(tmp_path / "c", [1.0, 0.0, 1.0])
    with pytest.raises(DataError, match=r"t: .*a and .*b were given different prompts, as for item 0"):
        compare(runs(a), runs(b))
    with pytest.raises(DataError, match=r"t: .*a has 2 items and .*c has 3; item 2 is in one of them"):
        compare(runs(a), runs(c))


def test_the_command_compares_methods_with_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method, share in (("it", 0.2), ("im", 0.5), ("other", 0.3)):
        (tmp_path / method).mkdir()
        for seed in range(2):
            rng = np.random.default_rng(seed)
            evaluated(tmp_path / method / str(seed), (rng.random(60) < share).astype(float).tolist())
    names = [str(tmp_path / name) for name in ("it", "im", "other")]
    door.main(["compare", *names, "--format=json"])
    found = json.loads(capsys.readouterr().out)
    assert [each["second"] for each in found] == names[1:]
    (first,), (second,) = (each["differences"] for each in found)
    assert first["seeds"] == [2, 2] and first["value"] > second["value"] > 0
    worst, best = sorted((first["p"], second["p"]), reverse=True)
    assert sorted((first["p_holm"], second["p_holm"])) == pytest.approx(
        [min(2 * best, 1), max(worst, min(2 * best, 1))]
    )
    door.main(["compare", *names])
    assert "intervals are over items and seeds" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError, match="give two folders"):
        door.main(["compare", names[0]])
    with pytest.raises(ConfigError, match="nowhere has no results"):
        door.main(["compare", names[0], str(tmp_path / "nowhere")])
