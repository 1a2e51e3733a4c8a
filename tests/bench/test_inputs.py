"""Inputs: the share of tokens with loss, where they are, and what each benchmark is told."""

import dataclasses
import json

import numpy as np
import pytest

from im_jax.bench.case import (
    Case,
    attention_inputs,
    attention_mask,
    case_from_json,
    cross_entropy_inputs,
    train_inputs,
)


def test_a_case_survives_its_way_to_a_worker() -> None:
    case = Case("train_step", (2, 8), "bfloat16", active=0.5, model=(10, 4, 1, 2, 1, 8))
    rewrites = Case("rewrites", (2, 6, 2), "float32", model=(1, 2, 8), work="train")
    for sent in (case, rewrites):
        assert case_from_json(json.loads(json.dumps(dataclasses.asdict(sent)))) == sent


@pytest.mark.parametrize(("share", "count"), [(1.0, 1024), (0.234, 240), (0.037, 38), (1e-6, 2)])
def test_active_tokens_are_one_span_a_row(share: float, count: int) -> None:
    inputs = cross_entropy_inputs(Case("cross_entropy", (1024, 4, 10), "float32", active=share))
    assert inputs.active.sum() == count
    for row in inputs.active.reshape(2, 512):
        assert np.abs(np.diff(row.astype(int))).sum() <= 2  # one beginning and one end at most
    np.testing.assert_allclose(np.mean(np.square(inputs.hidden), axis=1), 1, rtol=1e-5)
    assert inputs.head.std() == pytest.approx(0.02, rel=0.2)


def test_inputs_are_the_same_in_every_process() -> None:
    case = Case("cross_entropy", (64, 4, 10), "float32", active=0.5)
    for first, second in zip(cross_entropy_inputs(case), cross_entropy_inputs(case), strict=True):
        np.testing.assert_array_equal(first, second)


def test_trained_tokens_end_each_row() -> None:
    inputs = train_inputs(Case("train_step", (3, 100), "float32", active=0.037, model=(50, 0, 0, 0, 0, 0)))
    assert inputs.trained[:, -4:].all() and not inputs.trained[:, :-4].any()
    assert train_inputs(Case("train_step", (3, 100), "float32", model=(50, 0, 0, 0, 0, 0))).trained.all()


def test_attention_rows_hold_the_examples_and_the_mask_keeps_them_apart() -> None:
    inputs = attention_inputs(Case("attention", (2, 16, 1, 4), "float32", examples=3))
    for row, mask in zip(inputs.segments, attention_mask(inputs.segments)[:, 0], strict=True):
        assert sorted(set(row.tolist())) == [1, 2, 3]
        expected = [[j <= i and row[i] == row[j] for j in range(16)] for i in range(16)]
        np.testing.assert_array_equal(mask, expected)
