"""An evaluation of one's own is measured, written and shown by a run that knows nothing of it."""

import dataclasses
import io
import json
from pathlib import Path

import jax
import pytest
from rich.table import Table

from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.models.loaded import Model
from im_jax.training.loop import train_run
from im_jax.training.run import Run, prepare_run, resolve
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")


class WeightNorm(Evaluation):
    """The largest parameter, every two steps."""

    name = "norm"
    every = 2

    def __call__(self, model: Model, step: int) -> Entry:
        return {"largest": max(float(abs(x).max()) for x in jax.tree.leaves(model.params)), "steps": step}

    def table(self, entry: Entry) -> Table:
        table = Table(title="the largest parameter")
        table.add_row(f"{entry['largest']:.6f}")
        return table


class Impossible(Evaluation):
    name = "impossible"

    def check(self) -> None:
        raise ConfigError("this cannot be measured")

    def __call__(self, model: Model, step: int) -> Entry | None:
        return None


def run_with(*evaluations: Evaluation) -> Run:
    config = tiny_config()
    config.train.steps = 5
    run = prepare_run(resolve(config))
    return dataclasses.replace(run, evaluations=[*run.evaluations, *evaluations])


def test_an_evaluation_is_plugged_in(tmp_path: Path) -> None:
    shown = io.StringIO()
    summary = train_run(run_with(WeightNorm()), tmp_path, Console(file=shown))
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    measured = [entry for entry in entries if entry["split"] == "norm"]
    assert [entry["step"] for entry in measured] == [2, 4, 5] == [entry["steps"] for entry in measured]
    assert summary["norm"] == measured[-1]
    assert json.loads((tmp_path / "summary.json").read_text())["norm"] == measured[-1]
    assert f"{measured[-1]['largest']:.6f}" in shown.getvalue()
    assert [entry["step"] for entry in entries if entry["split"] == "heldout"] == [5]


def test_what_an_evaluation_cannot_measure_stops_the_run_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("im_jax.studies.registry.evaluations", lambda config: [Impossible()])
    with pytest.raises(ConfigError, match="this cannot be measured"):
        prepare_run(resolve(tiny_config()))


def test_a_run_is_put_together_without_touching_what_it_is_made_from() -> None:
    config = tiny_config()
    before = dataclasses.asdict(config)
    run = prepare_run(resolve(config))
    assert dataclasses.asdict(config) == before
    assert run.last_step == 6 and len(run.learning_rates) == 6
    with jax.set_mesh(run.mesh):
        state, metrics = run.train_step(
            run.first_state(), run.frozen, run.put(next(run.batches())), run.told(1)
        )
        assert int(state.step) == 1 and float(metrics.loss) > 0
        assert run.model(state).params.keys() == state.params.keys()
