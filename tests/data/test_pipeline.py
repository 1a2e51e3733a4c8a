"""The batch of a step is a function of (seed, step): whoever reads it, and wherever it starts."""

import itertools

import numpy as np
import pytest

from im_jax.batch import Batch
from im_jax.data.packing import Rows, padded_plan
from im_jax.data.pipeline import eval_batches, train_iterator
from tests.data.test_packing import make_dataset

LENGTH = 8


@pytest.fixture
def rows() -> Rows:
    dataset = make_dataset([1 + i % LENGTH for i in range(23)])
    return Rows(dataset, padded_plan(len(dataset)), LENGTH)


def take(rows: Rows, count: int, *, seed: int = 3, local: range = range(6), workers: int = 2) -> list[Batch]:
    iterator = train_iterator(rows, seed=seed, batch_size=6, local=local, workers=workers)
    return list(itertools.islice(iterator, count))


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    for a, b in zip(left, right, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_same_seed_gives_same_batches_with_any_number_of_workers(rows: Rows) -> None:
    assert_same(take(rows, 9, workers=1), take(rows, 9, workers=4))


def test_another_seed_gives_another_order(rows: Rows) -> None:
    assert any(
        (a.tokens != b.tokens).any() for a, b in zip(take(rows, 3), take(rows, 3, seed=4), strict=True)
    )


def test_each_pass_reads_every_row_once_in_a_new_order(rows: Rows) -> None:
    iterator = train_iterator(rows, seed=0, batch_size=1, local=range(1), workers=1)
    read = [batch.tokens.tobytes() for batch in itertools.islice(iterator, 2 * len(rows))]
    first, second = read[: len(rows)], read[len(rows) :]
    expected = sorted(rows[i].tokens.tobytes() for i in range(len(rows)))
    assert sorted(first) == sorted(second) == expected
    assert first != second


def test_processes_read_the_parts_of_the_same_batch(rows: Rows) -> None:
    whole = take(rows, 5)
    parts = [take(rows, 5, local=range(0, 2)), take(rows, 5, local=range(2, 6))]
    joined = [Batch(*map(np.concatenate, zip(a, b, strict=True))) for a, b in zip(*parts, strict=True)]
    assert_same(whole, joined)


def test_restored_position_continues_as_if_never_interrupted(rows: Rows) -> None:
    iterator = train_iterator(rows, seed=3, batch_size=6, local=range(6), workers=2)
    list(itertools.islice(iterator, 4))
    state = iterator.get_state()
    resumed = train_iterator(rows, seed=3, batch_size=6, local=range(6), workers=2)
    resumed.set_state(state)
    assert_same(take(rows, 9)[4:], list(itertools.islice(resumed, 5)))


def test_evaluation_reads_every_row_once_and_fills_up_with_padding(rows: Rows) -> None:
    batches = list(eval_batches(rows, length=LENGTH, batch_size=6, local=range(6)))
    assert [batch.tokens.shape for batch in batches] == [(6, LENGTH)] * 4
    tokens = np.concatenate([batch.tokens for batch in batches])
    for i in range(len(rows)):
        np.testing.assert_array_equal(tokens[i], rows[i].tokens)
    assert not batches[-1].segments[len(rows) - 24 :].any()
