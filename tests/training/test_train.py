"""A whole run: what it writes, that it learns, and that it resumes."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from im_jax.console import Console
from im_jax.errors import ConfigError, DataError, TrainingError
from im_jax.training.saved import SavedModel
from im_jax.training.start import train
from tests.training.tiny import tiny_config

QUIET = Console(quiet=True)
CLASSES = ("header", "system", "user", "assistant", "stop", "separator")


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of the `it` policy with evaluation every two steps."""
    workdir = tmp_path_factory.mktemp("run")
    config = tiny_config()
    config.loss.policy, config.eval.every, config.optimizer.learning_rate = "it", 2, 1e-2
    return workdir, train(config, workdir, QUIET)


def test_every_log_step_has_its_numbers(run: tuple[Path, dict[str, Any]]) -> None:
    rows = [row for row in read_metrics(run[0]) if row["split"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert {"loss", "learning_rate", "grad_norm", "tokens_per_second", "step_time"} <= set(row)
        assert row["loss"] > 0 and row["grad_norm"] > 0 and row["tokens_per_second"] > 0
        assert "nll/assistant" in row and "nll/user" not in row, "only what is trained is measured"
        assert row["tokens/user"] > 0


def test_held_out_rows_measure_every_class_whatever_is_trained(run: tuple[Path, dict[str, Any]]) -> None:
    rows = [row for row in read_metrics(run[0]) if row["split"] == "heldout"]
    assert [row["step"] for row in rows] == [2, 4, 6]
    for row in rows:
        for label in CLASSES:
            assert row[f"nll/{label}"] > 0 and row[f"tokens/{label}"] > 0
    outputs = rows[-1]["tokens/assistant"], rows[-1]["tokens/stop"]
    mean = (rows[-1]["nll/assistant"] * outputs[0] + rows[-1]["nll/stop"] * outputs[1]) / sum(outputs)
    assert rows[-1]["loss"] == pytest.approx(mean, rel=1e-6)
    assert rows[-1]["nll/assistant"] < rows[0]["nll/assistant"]


def test_resolved_configuration_and_summary_are_written(run: tuple[Path, dict[str, Any]]) -> None:
    workdir, summary = run
    written = json.loads((workdir / "config.json").read_text())
    assert written["loss"]["policy"] == "it"
    assert written["model"]["vocab_size"] == 320
    assert json.loads((workdir / "summary.json").read_text()) == summary
    assert summary["step"] == 6
    sizes = 3 * 4 * summary["parameters"]  # weights and two moments, and some counters
    assert sizes < summary["memory"]["state_bytes"] < sizes + 64
    assert summary["memory"]["peak_bytes"] is None  # a CPU does not say
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    assert any((workdir / "tensorboard").iterdir())
    assert not (workdir / "examples").exists(), "ids are written only if they are wanted"


def test_finished_run_started_again_measures_again_and_trains_no_more(
    run: tuple[Path, dict[str, Any]],
) -> None:
    workdir, first = run
    config = tiny_config()
    config.loss.policy, config.eval.every, config.optimizer.learning_rate = "it", 2, 1e-2
    before = read_metrics(workdir)
    again = train(config, workdir, QUIET)
    assert again["resumed_from"] == 6
    assert again["heldout"] == first["heldout"]
    assert read_metrics(workdir) == before

    config.train.steps = 4
    with pytest.raises(ConfigError, match="has trained 6 steps, more than the 4 asked for"):
        train(config, workdir, QUIET)


def test_another_configuration_in_the_same_workdir_is_refused(run: tuple[Path, dict[str, Any]]) -> None:
    config = tiny_config()
    config.eval.every, config.optimizer.learning_rate = 2, 1e-2
    with pytest.raises(ConfigError, match=r"another --workdir.*--config\.loss\.policy=it, not im"):
        train(config, run[0], QUIET)


def test_policies_see_the_same_examples(tmp_path: Path) -> None:
    """IM and IT differ in what carries loss, and in nothing that they are shown."""
    counts = {}
    for policy in ("it", "im"):
        config = tiny_config()
        config.loss.policy, config.train.steps, config.checkpoint.every = policy, 2, 0
        train(config, tmp_path / policy, QUIET)
        rows = [row for row in read_metrics(tmp_path / policy) if row["split"] == "train"]
        counts[policy] = [{k: v for k, v in row.items() if k.startswith("tokens/")} for row in rows]
    assert counts["it"] == counts["im"]


def test_epochs_become_steps(tmp_path: Path) -> None:
    config = tiny_config()
    config.train.steps, config.train.epochs = 0, 0.5
    summary = train(config, tmp_path, QUIET)
    rows = -(-sum(summary["data"]["tokens"].values()) // config.data.max_length)
    assert 1 <= summary["step"] <= -(-rows // config.train.batch_size)


def test_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = tiny_config()
    config.optimizer.clip_norm, config.optimizer.warmup_steps, config.checkpoint.every = 0.0, 3, 1
    config.optimizer.learning_rate = 1e30
    with pytest.raises(TrainingError, match=r"step \d: the loss is .*learning_rate"):
        train(config, tmp_path, QUIET)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    latest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    params = SavedModel(tmp_path / "checkpoints").params(None)
    assert latest < 6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_examples_that_changed_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    records = [{"prompt": f"Say {i}.", "completion": str(i)} for i in range(60)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def run(steps: int) -> None:
        config = tiny_config()
        config.data.source, config.data.path, config.train.steps = "jsonl", str(path), steps
        train(config, tmp_path / "run", QUIET)

    run(2)
    records[7]["completion"] = "seven"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(ConfigError, match=r"examples of the run in .* have changed since its checkpoint"):
        run(3)


def test_workdir_that_is_a_file_is_refused_and_a_mistake_leaves_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file; choose another directory"):
        train(tiny_config(), tmp_path / "file", QUIET)
    config = tiny_config()
    config.data.max_length = 12
    with pytest.raises(DataError, match="loss"):
        train(config, tmp_path / "new", QUIET)
    assert not (tmp_path / "new").exists()
