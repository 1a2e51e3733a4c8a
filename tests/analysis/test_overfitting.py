"""The command that analyses overfitting, on tiny runs: one that learned its set by heart, and one that did not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from im_jax.analyse import overfitting
from im_jax.analysis.opened import open_runs
from im_jax.config import Config
from im_jax.errors import CheckpointError, ConfigError
from im_jax.training.start import train
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def small(steps: int, **data: Any) -> Config:
    config = tiny_config(embed_dim=64, mlp_dim=128)
    config.model.compute_dtype = "float32"
    config.data.num_generated = 12
    config.eval.num_examples = 4
    config.loss.policy = "it"
    config.optimizer.learning_rate = 1e-2
    config.train.steps = steps
    config.train.batch_size = 8
    config.checkpoint.every = steps // 2
    for name, value in data.items():
        setattr(config.data, name, value)
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`heart`, which has learned its set by heart, and `fresh`, which has hardly begun."""
    path = tmp_path_factory.mktemp("runs")
    for name, steps in (("heart", 120), ("fresh", 2)):
        config = small(steps)
        train(config, path / name, QUIET)
    return path


def test_a_set_learned_by_heart_has_bleu_100_and_a_gap(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    (tmp_path / "text.txt").write_text("To be or not to be.\n\nThat is the question.\n")
    flags = ["--limit=50", "--gradient_examples=4", "--max_new_tokens=64", "--prefix=2", "--checkpoints=all"]
    named = f"--runs={runs}/heart,{runs}/fresh"
    text = f"--text={tmp_path}/text.txt"
    overfitting.main(["analyse", named, f"--output={tmp_path}/out", text, *flags])
    record = json.loads((tmp_path / "out/results.json").read_text())
    heart, fresh = record["runs"]
    assert heart["answers"]["train"]["bleu"] == pytest.approx(100)
    assert fresh["answers"]["train"]["bleu"] < 50
    for name, value in {"copied_own/train": 1, "copied_any/train": 1, "extracted_8/train": 1}.items():
        assert heart["measures"][name]["value"] == value
    assert heart["measures"]["output_loss/train"]["value"] < 0.1
    assert heart["measures"]["output_gap"]["value"] > 1 > fresh["measures"]["output_gap"]["value"]
    assert [at["step"] for at in heart["steps"]] == [0, 60, 120]
    assert heart["steps"][0] == fresh["steps"][0], "both started from the same weights"
    gap = record["comparisons"][0]["differences"]["output_gap"]
    values = [run["measures"]["output_gap"]["value"] for run in (heart, fresh)]
    assert gap["value"] == pytest.approx(values[1] - values[0]) and gap["interval"][1] < 0
    assert heart["text"]["paragraphs"] == 2
    page = (tmp_path / "out/report.md").read_text()
    assert "tok:13a" in page and "loss on outputs, held-out minus training" in page
    html = (tmp_path / "out/report.html").read_text()
    assert html.count("<svg") == 3 and "http" not in html.split("<h2>", 1)[1], "nothing is fetched"
    for name in ("losses", "classes", "gradients"):
        assert (tmp_path / f"out/{name}.png").stat().st_size and f"({name}.png)" in page
    lines = (tmp_path / "out/examples.csv").read_text().splitlines()
    assert len(lines) == 1 + 12 * (3 + len(fresh["steps"]))


def refused(names: list[Path]) -> str:
    with pytest.raises((ConfigError, CheckpointError)) as error:
        open_runs([str(name) for name in names], limit=10, seed=0)
    return str(error.value)


def test_runs_that_cannot_be_compared_are_named(runs: Path, tmp_path: Path) -> None:
    train(small(2, num_generated=13), tmp_path / "other", QUIET)
    message = refused([runs / "heart", tmp_path / "other"])
    assert f"{tmp_path}/other saw different data (data.num_generated=12 and 13)" in message
    config = small(2)
    config.eval.num_examples = 0
    train(config, tmp_path / "none", QUIET)
    assert "holds no example out" in refused([tmp_path / "none"])
    assert "twice" in refused([runs / "heart", runs / "heart"])
    os.makedirs(tmp_path / "empty/checkpoints")
    assert "there is no complete checkpoint" in refused([tmp_path / "empty"])
    assert "has no checkpoints" in refused([tmp_path])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=x"], "no runs to analyse"),
        (["--runs=a"], "no folder to write"),
        (["--runs=a", "--output=x", "--text=nowhere.txt"], "--text=nowhere.txt cannot be read"),
    ],
)
def test_mistakes_in_flags_are_told(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        overfitting.main(["analyse", *flags])
