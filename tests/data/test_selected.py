"""Examples chosen of data sets by number, against lists of them, and how little is held beside the sets."""

import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from im_jax.config import Config, DataConfig, EvalConfig
from im_jax.data.dataset import DIGESTS, MEASURES, Dataset, EncodedDataset
from im_jax.data.encoding import EncodedExample
from im_jax.data.first_fingerprint import first_fingerprint
from im_jax.data.packing import Rows, best_fit_plan
from im_jax.data.prepare import prepare
from im_jax.data.selected import SelectedDataset
from im_jax.data.selection import Pool, select
from im_jax.data.statistics import DataReport
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import policy_weights
from tests.alone import alone
from tests.data.encoded_examples import (
    COUNT,
    assert_holds,
    examples,
    fingerprint_of,
    first_fingerprint_of,
    stored,
)

NUMBERS = [0, 1, 2, 7, 8, 250, COUNT - 1, 3, 3]

Storing = Callable[[EncodedDataset], EncodedDataset]


@pytest.fixture(params=["in memory", "mapped"])
def storing(request: pytest.FixtureRequest, tmp_path: Path) -> Storing:
    """Leaves a data set as it is, or maps it from a folder."""
    places = (tmp_path / str(number) for number in range(9))
    return (lambda whole: stored(whole, next(places))) if request.param == "mapped" else (lambda whole: whole)


@pytest.mark.parametrize("weighted", [0.0, 0.3])
def test_selected_examples_are_those_of_a_list(weighted: float, storing: Storing) -> None:
    made = examples(weighted=weighted)
    whole = storing(EncodedDataset.from_examples(made))
    chosen = [made[number] for number in NUMBERS]
    selected, copied = (
        SelectedDataset.of([whole]).take(np.array(NUMBERS)),
        EncodedDataset.from_examples(chosen),
    )
    assert_holds(selected, chosen)
    assert_same(selected, copied)
    assert np.shares_memory(selected[0].tokens, whole.tokens), "nothing is copied"
    assert selected.fingerprint() == fingerprint_of(chosen)
    assert first_fingerprint(selected) == first_fingerprint_of(chosen)
    assert_holds(selected.take(np.array([5, 0])), [chosen[5], chosen[0]])


def test_examples_of_several_sources_are_those_of_a_list(storing: Storing) -> None:
    lists = {"a": examples(seed=1, weighted=0.0), "b": examples(seed=2)}
    parts = [storing(EncodedDataset.from_examples(made)) for made in lists.values()]
    both = [
        dataclasses.replace(made, id=f"{name}/{made.id}") for name, each in lists.items() for made in each
    ]
    numbers = [COUNT + 7, 0, 3, COUNT, COUNT, 2 * COUNT - 1, COUNT - 1]
    chosen = [both[number] for number in numbers]
    selected = SelectedDataset.of(parts, list(lists)).take(np.array(numbers))
    assert_holds(selected, chosen)
    assert_same(selected, EncodedDataset.from_examples(chosen))
    assert selected.source.tolist() == [1, 0, 0, 1, 1, 1, 0]
    assert selected.fingerprint() == fingerprint_of(chosen) == first_fingerprint(selected)


def test_no_examples_may_be_selected(storing: Storing) -> None:
    for whole in (EncodedDataset.from_examples(examples()), EncodedDataset.from_examples([])):
        nothing = SelectedDataset.of([storing(whole)]).take(np.arange(0))
        assert_holds(nothing, [])
        assert_same(nothing, EncodedDataset.from_examples([]))
        assert nothing.fingerprint() == fingerprint_of([])
        assert first_fingerprint(nothing) == first_fingerprint_of([])


def assert_same(selected: SelectedDataset, copied: EncodedDataset) -> None:
    """Whatever is asked of many examples at once, and their rows, as of a data set that has only them."""
    some = np.arange(len(copied))[::-1]
    for found, expected in zip(selected.flat(some), copied.flat(some), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(selected.targets(some), copied.targets(some))
    for name in (*MEASURES, "digest"):
        np.testing.assert_array_equal(selected.measured(name, some), copied.measured(name, some))
    plan = best_fit_plan(copied.lengths, 64, seed=0)
    rows, expected_rows = Rows(selected, plan, 64), Rows(copied, plan, 64)
    for row in range(len(plan)):
        assert rows.ids(row) == expected_rows.ids(row)
        for found, expected in zip(rows[row], expected_rows[row], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_run_from_before_is_known_by_its_first_fingerprint() -> None:
    config = Config(data=DataConfig(num_generated=60), eval=EvalConfig(num_examples=7))
    data = prepare(config, make_tokenizer("bytes"), policy_weights("it"))
    before = "-".join(first_fingerprint_of(listed(part)) for part in (data.train, data.heldout))
    assert data.has_fingerprint(before) and data.has_fingerprint(data.fingerprint())
    assert not data.has_fingerprint(before[1:] + before[0])


def listed(dataset: Dataset) -> list[EncodedExample]:
    views = (dataset[number] for number in range(len(dataset)))
    return [EncodedExample(*view, len(view.tokens), 0) for view in views]


def _selected(count: int, folder: Path) -> tuple[int, int, int]:
    """Examples of training and held-out ones of a mapped set, and bytes that choosing them holds."""
    one = EncodedExample(
        "a", np.arange(2, dtype=np.int32), np.ones(2, np.uint8), np.ones(2, np.float32), 2, 0
    )
    different = {name: np.arange(count, dtype=np.uint64) for name in DIGESTS}
    whole = dataclasses.replace(EncodedDataset.from_examples([one] * count), **different)
    pool, tokenizer = Pool("", stored(whole, folder), DataReport()), make_tokenizer("bytes")
    assert isinstance(pool.dataset.lengths, np.memmap)
    config = Config(eval=EvalConfig(num_examples=100))
    select([pool], None, config, tokenizer)  # whatever is made once
    tracemalloc.start()
    selection = select([pool], None, config, tokenizer)
    held, _ = tracemalloc.get_traced_memory()
    return len(selection.train), len(selection.heldout), held


def test_what_is_held_beside_a_mapped_set_is_six_bytes_an_example(tmp_path: Path) -> None:
    count = 20_000
    train, heldout, held = alone(_selected, count, tmp_path)
    assert (train, heldout) == (count - 100, 100)
    assert 6 * count < held < 7 * count
