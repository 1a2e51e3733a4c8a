"""Packing plans that are kept: the same as those that are made, and never a wrong one."""

from pathlib import Path

import numpy as np
import pytest

from im_jax.data.packing import Plan, best_fit_plan
from im_jax.data.store import plans
from im_jax.data.store.plans import kept_plan

LENGTHS = np.random.default_rng(0).integers(1, 65, 2000).astype(np.int32)


@pytest.fixture(autouse=True)
def _worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "WORTH", 100)


def assert_is(plan: Plan, seed: int = 3) -> None:
    made = best_fit_plan(LENGTHS, 64, seed)
    np.testing.assert_array_equal(plan.examples, made.examples)
    np.testing.assert_array_equal(plan.offsets, made.offsets)
    assert (plan.examples.dtype, plan.offsets.dtype) == (made.examples.dtype, made.offsets.dtype)


def test_a_kept_plan_is_the_one_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_is(kept_plan(LENGTHS, 64, 3, tmp_path))
    monkeypatch.setattr(plans, "best_fit_plan", None)
    assert_is(kept_plan(LENGTHS, 64, 3, tmp_path))


def test_other_lengths_rows_or_seeds_are_other_plans(tmp_path: Path) -> None:
    for lengths, capacity, seed in (
        (LENGTHS, 64, 3),
        (LENGTHS, 64, 4),
        (LENGTHS, 100, 3),
        (LENGTHS[:-1], 64, 3),
    ):
        plan = kept_plan(lengths, capacity, seed, tmp_path)
        np.testing.assert_array_equal(plan.examples, best_fit_plan(lengths, capacity, seed).examples)
    assert len(list((tmp_path / "plans").iterdir())) == 4


@pytest.mark.parametrize("harm", ["cut", "twice", "full", "empty"])
def test_a_damaged_plan_is_made_anew(harm: str, tmp_path: Path) -> None:
    plan = kept_plan(LENGTHS, 64, 3, tmp_path)
    (path,) = (tmp_path / "plans").iterdir()
    examples, offsets = plan.examples.copy(), plan.offsets.copy()
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        examples[5] = examples[6] if harm == "twice" else examples[5]
        offsets = np.delete(offsets, 3) if harm == "full" else offsets
        np.savez(path, examples=examples, offsets=offsets)
    assert_is(kept_plan(LENGTHS, 64, 3, tmp_path))
    assert_is(kept_plan(LENGTHS, 64, 3, tmp_path))


def test_where_nothing_can_be_written_a_plan_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_is(kept_plan(LENGTHS, 64, 3, tmp_path / "file"))
    assert_is(kept_plan(LENGTHS, 64, 3, None))
    assert (
        best_fit_plan(LENGTHS[:0], 64, 0).offsets.tolist()
        == kept_plan(LENGTHS[:0], 64, 0, tmp_path).offsets.tolist()
    )
