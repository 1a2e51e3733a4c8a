"""Runs whose chat template writes more than contents: what is trained is what is asked for, on any day."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config
from im_jax.data.records import Message
from im_jax.opening import open_run
from im_jax.training import start
from im_jax.training.start import train
from tests.data.templates.test_dates import CLOCK
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

HIDDEN_THOUGHT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ '<think></think>' if m.role == 'assistant' }}{{ m.content }}"
    "{{ eos_token if m.role == 'assistant' }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""As Qwen3 does: an empty thought before the answer, which the generation prompt lacks."""
BIRDS = ("Tern.", "Gull.", "Heron.", "Knot.")


def birds(tmp_path: Path, template: str, **train: Any) -> Config:
    config = tiny_config()
    lines = [{"prompt": f"Bird {n}?", "completion": BIRDS[n]} for n in range(4)]
    (tmp_path / "birds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "chat.jinja").write_text(template)
    config.data.source, config.data.path = "jsonl", str(tmp_path / "birds.jsonl")
    config.data.template = str(tmp_path / "chat.jinja")
    config.eval.num_examples = 0
    config.loss.policy = "it"
    for name, value in train.items():
        setattr(config.train, name, value)
    return config


def test_what_only_training_texts_have_before_an_answer_is_learned(tmp_path: Path) -> None:
    config = birds(tmp_path, HIDDEN_THOUGHT, steps=150)
    config.optimizer.learning_rate, config.checkpoint.every = 1e-2, 150
    train(config, tmp_path / "run", QUIET)
    model = open_run(tmp_path / "run")
    prompts = [model.prompt([Message("user", f"Bird {n}?")]) for n in range(4)]
    answers = [answer.text for answer in model.answer(prompts, max_new_tokens=40)]
    assert answers == [f"<think></think>{bird}" for bird in BIRDS]


def test_a_template_with_a_date_resumes_on_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Day(datetime.date):
        day_of_test = datetime.date(2026, 2, 3)

        @classmethod
        def today(cls) -> datetime.date:  # type: ignore[override]
            return cls.day_of_test

    monkeypatch.setattr(start.datetime, "date", Day)
    train(birds(tmp_path, CLOCK, steps=2), tmp_path / "run", QUIET)
    monkeypatch.setattr(Day, "day_of_test", datetime.date(2026, 2, 5))
    train(birds(tmp_path, CLOCK, steps=4), tmp_path / "run", QUIET)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["date"] == "2026-02-03"
