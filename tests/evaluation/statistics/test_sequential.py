"""Looking again and again: the error rate holds over all looks, as a simulation with a fixed seed shows."""

import numpy as np
import pytest
from scipy import stats

from im_jax.evaluation.statistics.sequential import How, Looks, settled

LOOKS = Looks(planned=10, first=3, level=0.05)
DRAWS = 2000


def draws(mean: float, seed: int = 0) -> list[list[float]]:
    """Experiments of ten differences with a deviation of 1."""
    return np.random.default_rng(seed).normal(mean, 1, (DRAWS, LOOKS.planned)).tolist()


def at_most(rate: float, level: float) -> bool:
    """Within three standard errors of the simulation."""
    return rate <= level + 3 * (level * (1 - level) / DRAWS) ** 0.5


def test_a_difference_that_is_none_is_called_one_no_more_often_than_the_level_says() -> None:
    none = draws(0)
    rate = np.mean([settled(values, LOOKS) is not None for values in none])
    assert at_most(float(rate), 0.05)
    every = np.asarray(none)
    naive = np.zeros(DRAWS, bool)
    for n in range(LOOKS.first, LOOKS.planned + 1):
        naive |= stats.ttest_1samp(every[:, :n], 0, axis=1).pvalue < 0.05
    assert naive.mean() > 0.1, "a t test at each look does not hold it"


@pytest.mark.parametrize("mean", [0.0, 0.7, 3.0])
def test_all_intervals_together_hold_the_true_difference(mean: float) -> None:
    missed = 0
    for values in draws(mean, seed=1):
        intervals = [LOOKS.interval(values[:n]) for n in range(LOOKS.first, LOOKS.planned + 1)]
        missed += any(not low <= mean <= high for low, high in intervals)
    assert at_most(missed / DRAWS, 0.05)


def test_a_difference_of_the_margin_is_called_smaller_no_more_often_than_the_level_says() -> None:
    found = [settled(values, LOOKS, margin=1.5) for values in draws(1.5, seed=2)]
    assert at_most(sum(each is not None and each.how is How.ALIKE for each in found) / DRAWS, 0.05)


def test_large_differences_and_none_with_a_wide_margin_end_early() -> None:
    found = [settled(values, LOOKS) for values in draws(4, seed=3)]
    assert np.mean([each is not None and each.how is How.ABOVE for each in found]) > 0.99
    assert np.mean([each.pairs for each in found if each]) < 6
    below = settled([-value for value in draws(4, seed=3)[0]], LOOKS)
    assert below is not None and below.how is How.BELOW
    alike = [settled(values, LOOKS, margin=4) for values in draws(0, seed=4)]
    assert np.mean([each is not None and each.how is How.ALIKE for each in alike]) > 0.9


def test_what_is_spent_adds_up_to_the_level() -> None:
    assert LOOKS.spent(2) == 0 and LOOKS.spent(10) == pytest.approx(0.05)
    spent = [LOOKS.spent(n) for n in range(2, 11)]
    assert np.all(np.diff(spent) > 0)
    one = Looks(planned=5, first=5)
    values = [1.0, 2.0, 4.0, 3.0, 7.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert one.interval(values) == pytest.approx(tuple(expected)), "one look is a t test"


def test_the_verdict_is_that_of_the_first_look_that_settles_it() -> None:
    values = [1.0, 1.1, 0.9, 1.0, 1.05]
    first = settled(values, LOOKS)
    assert first is not None and first.pairs < len(values)
    assert settled([*values, -50.0, -60.0], LOOKS) == first, "what comes later changes nothing"
    assert settled(values[:2], LOOKS) is None
    assert settled([1.0] * 5, LOOKS) is None, "no spread is known"
    beyond = draws(0)[0][:3] + [100.0] * 20
    assert settled(beyond, Looks(planned=3)) is None, "there are no looks behind the last"
