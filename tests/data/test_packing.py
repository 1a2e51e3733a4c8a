"""Packing plans hold every example once; rows are what the examples were."""

import numpy as np
import pytest

from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import EncodedExample
from im_jax.data.packing import Plan, Rows, best_fit_plan, padded_plan
from im_jax.token_classes import TokenClass


def make_dataset(lengths: list[int], seed: int = 0) -> EncodedDataset:
    """Examples of any tokens, classes and weights."""
    rng = np.random.default_rng(seed)
    return EncodedDataset.from_examples(
        EncodedExample(
            id=f"e{i}",
            tokens=rng.integers(1, 1000, length).astype(np.int32),
            classes=rng.integers(1, 8, length).astype(np.uint8),
            weights=rng.random(length).astype(np.float32),
            full_length=length,
            special_in_content=0,
        )
        for i, length in enumerate(lengths)
    )


def lists(plan: Plan) -> list[list[int]]:
    return [plan[row].tolist() for row in range(len(plan))]


@pytest.mark.parametrize("seed", range(4))
def test_best_fit_holds_every_example_once_within_capacity(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 101, 500)
    plan = best_fit_plan(lengths, 100, seed)
    assert sorted(example for row in lists(plan) for example in row) == list(range(500))
    assert all(sum(lengths[row]) <= 100 for row in lists(plan))
    # First-fit and best-fit decreasing use at most 11/9 of the fewest rows possible, plus one.
    assert len(plan) <= 11 / 9 * np.ceil(lengths.sum() / 100) + 1


def test_best_fit_takes_the_fullest_row_that_has_room() -> None:
    # 60 opens a row (room 40), 50 another (room 50); 40 fits the first exactly.
    assert lists(best_fit_plan(np.array([60, 50, 40]), 100, seed=0)) == [[0, 2], [1]]


def test_plan_depends_on_the_seed_only_through_equal_lengths() -> None:
    lengths = np.full(40, 30)
    first, again, other = (lists(best_fit_plan(lengths, 100, seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("length", [0, 101])
def test_example_that_fits_no_row_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"has {length} tokens"):
        best_fit_plan(np.array([5, length]), 100, seed=0)


@pytest.mark.parametrize("packed", [True, False])
def test_rows_hold_the_examples_with_their_own_segments_and_positions(packed: bool) -> None:
    lengths = [7, 3, 10, 1, 4, 9]
    dataset = make_dataset(lengths)
    plan = best_fit_plan(dataset.lengths, 12, seed=0) if packed else padded_plan(len(dataset))
    rows = Rows(dataset, plan, 12)
    seen = []
    for number in range(len(rows)):
        row = rows[number]
        for segment, example in enumerate(plan[number].tolist(), start=1):
            at = row.segments == segment
            expected = dataset[example]
            np.testing.assert_array_equal(row.tokens[at], expected.tokens)
            np.testing.assert_array_equal(row.classes[at], expected.classes)
            np.testing.assert_array_equal(row.message_weights[at], expected.weights)
            np.testing.assert_array_equal(row.positions[at], np.arange(lengths[example]))
            seen.append(example)
        padding = row.segments == 0
        assert np.all(row.classes[padding] == TokenClass.PAD)
        assert not row.tokens[padding].any() and not row.positions[padding].any()
    assert sorted(seen) == list(range(len(lengths)))
