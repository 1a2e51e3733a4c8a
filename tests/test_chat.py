"""A conversation in the terminal."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.chat import Talk
from im_jax.data.records.conversation import Message
from im_jax.models import loaded
from im_jax.models.loaded import Model
from im_jax.opening import open_run
from im_jax.saved_config import config_of_run
from im_jax.text import plain
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    config = tiny_config()
    config.train.steps = 2
    train(config, path, QUIET)
    return path


@pytest.fixture(scope="module")
def model(workdir: Path) -> Model:
    return open_run(str(workdir), config_of_run(str(workdir)), chat=True)


def talk(model: Model, *lines: str) -> tuple[Talk, str]:
    written: list[str] = []
    talked = Talk(model, 8, written.append)
    talked.run(lines)
    return talked, "".join(written)


def answers(model: Model, messages: list[Message]) -> str:
    return model.answer([model.prompt(messages)], max_new_tokens=8)[0].text


def test_answers_are_those_of_generate_with_all_turns_before(model: Model) -> None:
    talked, written = talk(model, "hello", "", "and now?")
    first = answers(model, [Message("user", "hello")])
    turns = [Message("user", "hello"), Message("assistant", first), Message("user", "and now?")]
    second = answers(model, turns)
    assert written == f"{first}\n{second}\n"
    assert talked.turns == [*turns, Message("assistant", second)]


def test_commands_forget_and_set_the_system_and_others_are_told(model: Model) -> None:
    first = talk(model, "hello")[0].turns
    assert talk(model, "hello", "more", "/undo")[0].turns == first
    assert talk(model, "/undo", "hello")[0].turns == first
    assert talk(model, "hello", "/reset")[0].turns == []
    talked, written = talk(model, "hello", "/system Be brief.", "hi", "/quit", "never asked")
    expected = answers(model, [Message("system", "Be brief."), Message("user", "hi")])
    assert written.endswith(f"\n{expected}\n") and talked.turns[0] == Message("user", "hi")
    talked, written = talk(model, "/rest")
    assert written.startswith("/rest is no command; commands: /reset") and talked.turns == []


def test_a_question_without_room_is_one_line_and_forgotten(model: Model) -> None:
    talked, written = talk(model, "hello", "x" * 5000)
    assert "exceed model.max_positions" in written and written.count("error:") == 1
    assert len(talked.turns) == 2


def decoded_as(model: Model, tokens: list[int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def given(*_: Any) -> Any:
        yield from tokens

    monkeypatch.setattr(loaded, "stream", given)
    return list(model.stream(np.array([1], np.int32), max_new_tokens=len(tokens)))


def test_characters_wait_for_their_tokens_and_begun_stops_are_not_shown(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = model.tokenizer.encode("aé€b").ids.tolist()
    assert len(tokens) == 7  # bytes
    assert [x for x in decoded_as(model, tokens, monkeypatch) if x] == ["a", "é", "€", "b"]
    assert "".join(decoded_as(model, tokens[:-2], monkeypatch)) == model.tokenizer.decode(tokens[:-2])
    stopped = dataclasses.replace(model)
    stopped.__dict__["stops"] = [model.tokenizer.encode("xyz").ids.tolist()]
    pieces = decoded_as(stopped, model.tokenizer.encode("axybxyzc").ids.tolist(), monkeypatch)
    assert [x for x in pieces if x] == ["a", "xyb"]


def test_the_command_talks_from_end_to_end(workdir: Path, model: Model) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "im_jax.chat", f"--workdir={workdir}", "--max_tokens=8"],
        input="hello\n",
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain(talk(model, "hello")[1])
