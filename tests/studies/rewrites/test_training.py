"""Training on rewrite examples, from a configuration to accuracy on unseen rules."""

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from im_jax import validation
from im_jax.config import Config, RewritesConfig
from im_jax.console import Console
from im_jax.studies.rewrites import experiments
from im_jax.training import start


def run(config: Config, workdir: pathlib.Path) -> dict[str, Any]:
    validation.check(config)
    return start.train(config, workdir, Console(quiet=True))


def test_a_run_reports_accuracy_on_unseen_and_on_training_rules(tmp_path: pathlib.Path) -> None:
    config = experiments.base("smoke")
    config.data.rewrites = dataclasses.replace(config.data.rewrites, num_rules=40, no_op_fraction=0.25)
    summary = run(config, tmp_path)
    answers = summary["rewrites"]
    assert answers["effective_rules"] == pytest.approx(40)
    assert answers["unseen/examples"] == answers["train_rules/examples"] == 100
    assert answers["unseen/copying"] == pytest.approx(0.25, abs=0.15)
    assert 0 <= answers["unseen/accuracy"] <= 1
    assert summary["data"]["examples"] == 1000 and summary["data"]["in_source"] == 1000
    assert json.loads((tmp_path / "summary.json").read_text())["rewrites"] == answers
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["unseen/accuracy"] for row in rows if row["split"] == "rewrites"] == [
        answers["unseen/accuracy"]
    ]


@pytest.mark.timeout(900)
def test_many_rules_generalise_where_few_do_not(tmp_path: pathlib.Path) -> None:
    """Equal examples and steps, one letter for another: few rules are learned by heart."""
    config = experiments.base("smoke")
    config.model = dataclasses.replace(config.model, num_layers=2, embed_dim=64, mlp_dim=128)
    config.train = dataclasses.replace(config.train, steps=500, batch_size=128)
    # At the rate of the tiers, which suits thousands of steps, 500 are too few to learn to follow a rule.
    config.optimizer = dataclasses.replace(config.optimizer, learning_rate=3e-3, warmup_fraction=0.03)
    few, many = (run(_one_letter(config, count), tmp_path / str(count))["rewrites"] for count in (10, 500))
    assert few["train_rules/accuracy"] > 0.9
    assert few["unseen/accuracy"] < 0.2
    assert many["unseen/accuracy"] > few["unseen/accuracy"] + 0.5


def _one_letter(config: Config, rules: int) -> Config:
    task = RewritesConfig(
        num_rules=rules,
        num_examples=20_000,
        left_length=1,
        right_length=1,
        input_length=4,
        num_test_rules=40,
        num_test_examples=200,
    )
    data = dataclasses.replace(config.data, rewrites=task, max_length=15)
    return dataclasses.replace(config, data=data)
