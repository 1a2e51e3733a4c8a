"""The public face: cheap to import, complete, and as docs/python.md shows it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import im_jax
from im_jax.errors import ConfigError
from im_jax.training.start import train
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, im_jax; dir(im_jax); print(*(m for m in sys.modules if m.startswith(('im_jax', 'jax', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.split() == ["im_jax"], done.stderr


def test_every_public_name_is_there_and_others_are_not() -> None:
    assert im_jax.__all__ == sorted(im_jax.__all__)
    assert set(im_jax.__all__) <= set(dir(im_jax))
    for name in im_jax.__all__:
        assert getattr(im_jax, name) is not None
    with pytest.raises(AttributeError, match="module 'im_jax' has no attribute 'Confg'"):
        _ = im_jax.Confg  # type: ignore[attr-defined]


def test_train_can_be_called_before_and_after_its_door_is_imported() -> None:
    code = """
import im_jax
first = im_jax.train
import im_jax.train
for function in (first, im_jax.train):
    try:
        function(im_jax.Config(), "nowhere")
    except im_jax.UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "train.steps=0 and train.epochs=0: set one of them, how long to train\n" * 2, (
        done.stderr
    )


def test_train_checks_its_configuration_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss\.policy='IM' is not one of"):
        train(im_jax.Config(loss=im_jax.LossConfig(policy="IM")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the names of the examples in docs/python.md hold after all of them."""
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("notebook"))
    try:
        for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/python.md", "exec"), names)
        names["written"] = sorted(path.name for path in Path("runs").glob("*/summary.json"))
    finally:
        os.chdir(before)
    return names


def test_example_of_a_run_trains_and_shows_the_held_out_loss(examples: dict[str, Any]) -> None:
    assert examples["summary"]["step"] == 4 and examples["summary"]["policy"] == "im"
    assert 0 < examples["summary"]["heldout"]["nll/assistant"] < 2 * np.log(320)
    assert examples["written"] == ["summary.json"]
    assert examples["message"].endswith("did you mean im?")


def test_example_of_a_model_answers(examples: dict[str, Any]) -> None:
    assert isinstance(examples["model"], im_jax.Model)
    assert len(examples["answer"].tokens) <= 5 and isinstance(examples["answer"].text, str)


def test_example_of_a_policy_weights_classes(examples: dict[str, Any]) -> None:
    assert (examples["weight_of_users"], examples["weight_of_answers"]) == (pytest.approx(0.2), 1.0)


def test_example_of_the_loss_is_that_of_full_logits(examples: dict[str, Any]) -> None:
    hidden, head = (np.asarray(examples[name], np.float64) for name in ("hidden", "head"))
    logits = (hidden @ head)[:8]
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(8), np.arange(8)]
    assert examples["token_losses"][:8] == pytest.approx(expected, rel=1e-5)
    assert not np.any(examples["token_losses"][8:])
    assert float(examples["loss"]) == pytest.approx(expected.mean(), rel=1e-5)
    assert [gradient.shape for gradient in examples["gradients"]] == [(64, 16), (16, 1000)]
    assert not np.any(examples["gradients"][0][8:])


def test_example_of_fields_sets_and_compares_them(examples: dict[str, Any]) -> None:
    assert examples["changed"].loss.policy == "it" and examples["config"].loss.policy == "im"
    assert examples["different"]["train.steps"] == 6 and "loss.policy" not in examples["different"]
    assert examples["meaning"] == "Which token classes are trained."
