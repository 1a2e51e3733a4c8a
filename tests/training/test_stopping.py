"""A run that is asked to stop while it is measured saves at once, and measures when it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config
from im_jax.console import Console
from im_jax.errors import Interrupted
from im_jax.events import Happened, read_events
from im_jax.interruption import UNINTERRUPTED, Interruption
from im_jax.training.start import train
from tests.training.tiny import tiny_config


class AtQuestion(Interruption):
    """Is asked to stop when the run looks for the n-th time."""

    def __init__(self, number: int) -> None:
        super().__init__(lambda text: None, signals=())
        self._left = number

    @property
    def asked(self) -> bool:
        self._left -= 1
        return self._left < 0

    def stop(self, message: str) -> Interrupted:
        return Interrupted(message, 42)


def entries(workdir: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl in their order, without the numbers that depend on the clock."""
    timing = ("tokens_per_second", "step_time", "model_flops_utilisation")
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in timing} for line in lines]


def configured() -> Config:
    """Six steps, each second of which is measured on two batches."""
    config = tiny_config()
    config.eval.num_examples, config.eval.every, config.eval.batch_size = 16, 2, 4
    config.checkpoint.every, config.log.every = 0, 1
    return config


def run(workdir: Path, interruption: Interruption) -> None:
    train(configured(), workdir, Console(quiet=True), interruption)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    workdir = tmp_path_factory.mktemp("whole")
    run(workdir, UNINTERRUPTED)
    return entries(workdir)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_was_left_out_is_measured_when_the_run_goes_on(
    number: int, whole: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Before the evaluation, between its batches, and at its last one."""
    with pytest.raises(Interrupted, match="step 2 is saved; the same command goes on from there"):
        run(tmp_path, AtQuestion(number))
    assert [(entry["step"], entry["split"]) for entry in entries(tmp_path)] == [(1, "train"), (2, "train")]
    events = read_events(tmp_path / "events.jsonl")
    begun = [(event.name, event.phase) for event in events[-5:]]
    assert begun[0] == (Happened.EVALUATION, "begin") and begun[1] == (Happened.SAVE, "begin")
    run(tmp_path, UNINTERRUPTED)
    assert entries(tmp_path) == whole


def test_what_is_measured_already_is_not_measured_again(whole: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="step 2 is saved"):
        run(tmp_path, AtQuestion(4))
    assert len(entries(tmp_path)) == 3
    run(tmp_path, UNINTERRUPTED)
    assert entries(tmp_path) == whole
    again = [e for e in read_events(tmp_path / "events.jsonl") if e.attempt == 2 and e.step == 2]
    assert {event.name for event in again} == {Happened.RESTORE}
