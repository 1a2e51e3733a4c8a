"""Figures that follow from counts = those of the numbers themselves."""

import itertools
import statistics
from collections import Counter

import numpy as np
import pytest

from im_jax.data.report.counts import Counts, edges_for

LISTS = [[7], [1, 2], [0, 0, 3, 3, 3, 10], list(range(1, 101)), [5] * 9 + [1_234_567]]


@pytest.mark.parametrize("numbers", LISTS, ids=str)
def test_figures_are_those_of_the_numbers(numbers: list[int]) -> None:
    counts = Counts.of(np.array(numbers, np.int32))
    assert (len(counts), counts.total) == (len(numbers), sum(numbers))
    assert counts.mean == pytest.approx(statistics.fmean(numbers), rel=1e-15)
    assert counts.sd == pytest.approx(statistics.pstdev(numbers), rel=1e-12)
    assert counts.median == statistics.median(numbers)
    assert (counts.smallest, counts.largest) == (min(numbers), max(numbers))
    for percent in (1, 50, 95, 100):
        found = counts.percentile(percent)
        assert found is not None
        within = [sum(n <= limit for n in numbers) for limit in (found, found - 1)]
        assert 100 * within[0] >= percent * len(numbers) > 100 * within[1]
    assert counts.above(3) == sum(n > 3 for n in numbers)


def test_parts_join_to_the_whole_in_any_order() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.geometric(0.05, 1000)
    whole = Counts.of(numbers)
    parts = [Counts.of(part) for part in np.split(numbers, [10, 10, 400])]
    for joined in (Counts.joined(parts[::-1]), Counts.of_counter(Counter(numbers.tolist()))):
        np.testing.assert_array_equal(joined.values, whole.values)
        np.testing.assert_array_equal(joined.counts, whole.counts)


def test_of_nothing_there_is_no_figure() -> None:
    nothing = Counts.joined([])
    assert len(nothing) == 0
    assert {nothing.mean, nothing.sd, nothing.median, nothing.percentile(95), nothing.largest} == {None}
    assert nothing.histogram(edges_for([nothing])) == [0]


@pytest.mark.parametrize("numbers", LISTS, ids=str)
@pytest.mark.parametrize(
    "steps", [(10, 13, 16, 20, 25, 32, 40, 50, 63, 80), (10, 20, 50)], ids=["fine", "coarse"]
)
def test_bins_hold_every_number_once_and_begin_and_end_with_one(
    numbers: list[int], steps: tuple[int, ...]
) -> None:
    counts = Counts.of(np.array(numbers))
    edges = edges_for([counts], steps, split=4)
    assert list(edges) == sorted(set(edges))
    found = counts.histogram(edges)
    assert sum(found) == len(numbers) and found[0] and found[-1]
    expected = [sum(low <= n < high for n in numbers) for low, high in itertools.pairwise(edges)]
    assert found == expected
    assert 4 in edges or not min(numbers) < 4 <= max(numbers)
