"""Losses of examples by class, and the stretches that they are made of."""

from pathlib import Path

import numpy as np
import pytest

from im_jax.analysis.losses import losses_of
from im_jax.analysis.opened import open_runs
from im_jax.analysis.stretches import last_answer, stretches
from im_jax.data.dataset import ExampleView
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.evaluation.measures import class_metrics
from im_jax.token_classes import MAIN_CLASS_TABLE, TokenClass
from im_jax.training.start import train
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")

C = TokenClass


def example(*classes: TokenClass) -> ExampleView:
    tokens = np.arange(10, 10 + len(classes), dtype=np.int32)
    return ExampleView("a", tokens, np.array(classes, np.uint8), np.ones(len(classes), np.float32))


def test_stretches_are_every_target_once() -> None:
    rng = np.random.default_rng(0)
    for size in range(1, 30):
        made = example(*(C(c) for c in rng.integers(1, len(C), size)))
        covered = [(at, part.token_class) for part in stretches(made) for at in range(part.start, part.end)]
        assert covered == [(at, C(MAIN_CLASS_TABLE[made.classes[at]])) for at in range(1, size)]


def test_the_last_answer_ends_before_its_stop() -> None:
    made = example(
        C.BOS, C.USER, C.ASSISTANT, C.STOP, C.USER, C.LAST_ASSISTANT, C.LAST_ASSISTANT, C.LAST_STOP
    )
    asked = last_answer(made)
    assert asked is not None
    assert (asked.prompt.tolist(), asked.answer.tolist()) == ([10, 11, 12, 13, 14], [15, 16])
    assert last_answer(example(C.BOS, C.USER)) is None
    assert last_answer(example(C.BOS, C.USER, C.LAST_STOP)) is None


def test_losses_add_up_to_the_held_out_loss_of_the_run(tmp_path: Path) -> None:
    config = tiny_config()
    config.model.compute_dtype = "float32"
    summary = train(config, tmp_path / "run", QUIET)
    run = open_runs([str(tmp_path / "run")], limit=100, seed=0)[0]
    found = class_metrics(losses_of(Likelihoods(run.model(run.steps[-1])), run.heldout.views).sums())
    wanted = {name: value for name, value in summary["heldout"].items() if name in found}
    assert wanted and found == pytest.approx(wanted, rel=1e-4)
