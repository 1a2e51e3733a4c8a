"""A step whose numbers are not finite: kept to be looked at, and left out to the bit where that is wanted."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from im_jax.config import Config, LossConfig, OptimizerConfig, TrainConfig
from im_jax.console import Console
from im_jax.data.pipeline import rows_of_step
from im_jax.errors import TrainingError
from im_jax.losses.policy import make_policy
from im_jax.models.sharding import ShardingRules
from im_jax.training.loop import train_run
from im_jax.training.optimizer import make_optimizer, make_schedule, resolve_constants
from im_jax.training.partition import Frozen
from im_jax.training.run import Run, prepare_run, resolve
from im_jax.training.saved import SavedModel
from im_jax.training.skipping import Skipping
from im_jax.training.state import TrainState, new_state
from im_jax.training.step import StepMetrics, TrainStep, make_train_step
from im_jax.training.told import Told
from tests.training.tiny import (
    ADAPTED,
    LENGTH,
    MODEL,
    adapted_params,
    fresh_params,
    random_examples,
    rows_of,
    tiny_config,
    told_of,
)

LOSS = LossConfig(policy="im", reduction="sum")
BATCH = rows_of(random_examples(0, 8), [[i] for i in range(8)])
GOOD = told_of(make_policy(LOSS))
BAD = GOOD._replace(class_weights=GOOD.class_weights * 3e38)
"""Of which a sum is beyond all numbers."""


def step_with(
    not_finite: str, optimizer: str = "adamw", accumulate: int = 1, adapter: bool = False
) -> tuple[TrainStep, TrainState, Frozen]:
    """A step, and what it starts from."""
    config = OptimizerConfig(name=optimizer, schedule="constant", warmup_steps=2, clip_norm=1.0)
    made = make_optimizer(config, make_schedule(resolve_constants(config), 8))
    model, params, rest = MODEL, fresh_params(), {}
    if adapter:
        model, (params, rest) = ADAPTED, adapted_params()
    step = make_train_step(
        model, LOSS, made, accumulate=accumulate, rules=ShardingRules(), not_finite=not_finite
    )
    return step, new_state(params, made), Frozen(rest)


def assert_same_bits(left: Any, right: Any) -> None:
    for (path, a), b in zip(jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("optimizer", "accumulate", "adapter"),
    [
        ("adamw", 1, False),
        ("adamw", 4, True),
        ("adafactor", 2, False),
        ("muon", 1, False),
        ("schedule_free_adamw", 2, False),
    ],
)
def test_a_skipped_step_changes_no_bit_but_its_number_and_compiles_nothing(
    optimizer: str, accumulate: int, adapter: bool
) -> None:
    step, state, frozen = step_with("skip", optimizer, accumulate, adapter)
    compiled = jax.jit(step)
    skipped: list[bool] = []
    for told in (GOOD, BAD, BAD, GOOD):
        after, metrics = compiled(state, frozen, BATCH, told)
        assert int(after.step) == int(state.step) + 1
        assert metrics.skipped is not None
        skipped.append(bool(metrics.skipped))
        if skipped[-1]:
            assert not np.isfinite(float(metrics.loss))
            assert_same_bits(after._replace(step=state.step), state)
        else:
            moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after, state)), strict=True)]
            assert any(moved)
        state = after
    assert skipped == [False, True, True, False]
    assert compiled._cache_size() == 1  # type: ignore[attr-defined]


def test_a_run_that_stops_pays_nothing_and_one_that_skips_takes_the_same_good_steps() -> None:
    stops, state, frozen = step_with("stop")
    skips, _, _ = step_with("skip")
    text = str(jax.make_jaxpr(stops)(state, frozen, BATCH, GOOD).eqns[-30:])
    assert "is_finite" not in text and "is_finite" in str(jax.make_jaxpr(skips)(state, frozen, BATCH, GOOD))
    for _ in range(2):
        left, metrics = jax.jit(stops)(state, frozen, BATCH, GOOD)
        assert metrics.skipped is None
        right, _ = jax.jit(skips)(state, frozen, BATCH, GOOD)
        for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
        state = left


def numbers(loss: float, grad_norm: float = 1.0) -> StepMetrics:
    return StepMetrics(np.float32(loss), np.float32(grad_norm), None, None)  # type: ignore[arg-type]


def test_only_steps_in_a_row_are_too_many_and_a_checkpoint_remembers_them() -> None:
    said: list[str] = []
    config = TrainConfig(not_finite="skip", max_skipped=2)
    skipping = Skipping(config, said.append, lambda step: f"kept {step}")
    nan, inf = float("nan"), float("inf")
    skipping.look_at([(1, numbers(1.0)), (2, numbers(nan)), (3, numbers(2.0, inf))])
    skipping.look_at([(2, numbers(nan)), (3, numbers(2.0, inf))])  # once more, as at a save
    assert said == [
        "step 2 is skipped: the loss is nan and the gradient norm 1.0; kept 2",
        "step 3 is skipped: the loss is 2.0 and the gradient norm inf; kept 3",
    ]
    assert skipping.as_dict() == {"skipped": 2, "skipped_in_a_row": 2}
    assert skipping.updates_before(3) == 1, "step 1 made one, step 2 none"
    skipping.check()

    later = Skipping(config, said.append, lambda step: "", {"position": 7} | skipping.as_dict())
    later.look_at([(4, numbers(3.0)), (5, numbers(nan)), (6, numbers(nan))])
    later.check()
    assert later.total == 4 and later.updates_before(6) == 2
    again = Skipping(config, said.append, lambda step: "", skipping.as_dict())
    again.look_at([(4, numbers(nan))])
    with pytest.raises(TrainingError, match=r"step 4: .* 2 steps before it in a row were skipped, and train"):
        again.check()
    many = Skipping(TrainConfig(not_finite="skip", max_skipped=99), said.append, lambda step: f"kept {step}")
    many.look_at([(step, numbers(nan)) for step in range(1, 14)])
    assert said[-1].endswith("its rows are not kept: those of 10 others are") and "kept 10" in said[-4]


def failing(config: Config, at: set[int]) -> Run:
    """A run whose steps at some numbers give no finite loss."""
    config.loss.reduction = "sum"
    run = prepare_run(resolve(config))
    tell: Callable[[int], Told] = run.told

    def told(step: int) -> Told:
        found = tell(step)
        return found._replace(class_weights=found.class_weights * 3e38) if step in at else found

    return dataclasses.replace(run, told=told)


def entries(workdir: Path) -> list[dict[str, Any]]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["split"] == "train"]


def test_a_run_skips_goes_on_remembers_and_stops_at_too_many(tmp_path: Path) -> None:
    config = tiny_config()
    config.train.not_finite, config.train.max_skipped, config.train.steps = "skip", 2, 5
    config.optimizer.schedule, config.optimizer.warmup_steps = "linear", 3
    config.log.every, config.checkpoint.every, config.eval.num_examples = 2, 0, 0
    shown = io.StringIO()
    train_run(failing(config, {2, 4, 5}), tmp_path, Console(file=shown, width=200))
    assert "step 4 is skipped: the loss is inf and the gradient norm nan; its rows are in" in shown.getvalue()
    run = prepare_run(resolve(config))
    found = entries(tmp_path)
    assert [(e["step"], e["skipped"], e["loss"] is None) for e in found] == [
        (1, 0, False),
        (2, 1, True),
        (4, 2, True),
        (5, 3, True),
    ]
    # Steps 1 and 3 were taken, so that steps 2 and 4 would have had the rates of the second and the third.
    assert [e["learning_rate"] for e in found] == [run.learning_rates[i] for i in (0, 1, 2, 2)]
    saved = SavedModel(tmp_path / "checkpoints")
    assert saved.data()["skipped_in_a_row"] == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved.params(None)))

    config.train.steps = 8
    with pytest.raises(TrainingError) as stopped:
        train_run(failing(config, {6}), tmp_path, Console(quiet=True))
    assert "2 steps before it in a row were skipped, and train.max_skipped is 2" in stopped.value.message
    assert sorted(path.name for path in (tmp_path / "not_finite").iterdir()) == [
        "step-2",
        "step-4",
        "step-5",
        "step-6",
    ]


def test_the_batch_that_stopped_a_run_is_kept_to_be_looked_at(tmp_path: Path) -> None:
    config = tiny_config()
    config.train.steps, config.checkpoint.every, config.eval.num_examples = 5, 2, 0
    run = failing(config, {4})
    with pytest.raises(TrainingError) as stopped:
        train_run(run, tmp_path, Console(quiet=True))
    folder = tmp_path / "not_finite" / "step-4"
    assert (
        f"its rows are in {folder}: process-0.txt to be read, process-0.npz for numpy.load"
        in stopped.value.details[1]
    )
    assert "--config.train.not_finite=skip leaves out such a step" in stopped.value.details[-1]

    rows = run.data.train_rows
    wanted = rows_of_step(rows, seed=config.seed, batch_size=config.train.batch_size, step=4)
    with np.load(folder / "process-0.npz") as arrays:
        np.testing.assert_array_equal(arrays["rows"], wanted)
        for name, array in rows.batch(wanted)._asdict().items():
            np.testing.assert_array_equal(arrays[name], array)
    lines = [json.loads(line) for line in (folder / "process-0.jsonl").read_text().splitlines()]
    assert lines == [{"row": number, "ids": rows.ids(number)} for number in wanted.tolist()]
    text = (folder / "process-0.txt").read_text()
    for line in lines:
        assert f"row {line['row']}\n" in text
        assert all(f"example {name}\n" in text for name in line["ids"])
    words = run.tokenizer.decode(rows.batch(wanted).tokens[0][:LENGTH].tolist(), skip_special=False).split()
    assert all(word in text for word in words if "<" not in word)
    ids = [name for line in lines for name in line["ids"]]
    assert f"step 4 was computed from the examples {ids[0]}" in stopped.value.details[0]


def test_a_full_disk_hides_no_reason(tmp_path: Path) -> None:
    config = tiny_config()
    config.train.steps, config.checkpoint.every, config.eval.num_examples = 2, 0, 0
    (tmp_path / "not_finite").touch()
    with pytest.raises(TrainingError, match="the loss is inf") as stopped:
        train_run(failing(config, {1}), tmp_path, Console(quiet=True))
    assert "its rows could not be kept: " in stopped.value.details[1]
