"""Files of prompts answered into files: stopped at any moment and gone on with, the file is the same."""

import json
import pathlib
import random
from typing import Any

import pytest

from im_jax.data.templates import make_template
from im_jax.errors import DataError
from im_jax.generation import asking
from im_jax.generation.answers import AnswersFile
from im_jax.generation.asking import Asked, answer_file
from im_jax.generation.requests import Completion
from im_jax.models.loaded import Model
from tests.generation.tiny import CONFIG, tiny_model

DEFAULTS: dict[str, Any] = {"max_tokens": 10}


class Killed(BaseException):
    """As a kill, it is caught by nobody."""


@pytest.fixture(scope="module")
def model() -> Model:
    import dataclasses

    plain = tiny_model()
    return dataclasses.replace(plain, template=make_template("tulu", plain.tokenizer, "2020-01-01"))


@pytest.fixture
def prompts(tmp_path: pathlib.Path) -> pathlib.Path:
    rng = random.Random(0)
    records: list[dict[str, Any]] = [
        {"prompt": "".join(rng.choices("abcdefgh ", k=rng.randint(1, 50)))} for _ in range(22)
    ]
    records[3] = {"id": "sampled", "prompt": "abc", "n": 3, "temperature": 1.0, "top_p": 0.9, "logprobs": 2}
    records[5] = {"id": 77, "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 5}
    records[8] = {"id": "long", "prompt": "x" * CONFIG.max_positions}
    records[9] = {"id": "stopped", "prompt": "abc", "stop": "a", "ignore_eos": True, "max_tokens": 40}
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def ask(model: Model, prompts: pathlib.Path, output: pathlib.Path, **changed: Any) -> Asked:
    told = {"weights": "w", "defaults": DEFAULTS} | changed
    return answer_file(model, told["weights"], prompts, output, told["defaults"], slots=4)


def rows_of(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_stand_in_the_order_of_the_prompts(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "answers.jsonl"
    asked = ask(model, prompts, output)
    header, *rows = rows_of(output)
    assert (asked.answers, asked.errors) == (23, 1)
    assert header["parameters"] == DEFAULTS and header["model"] == "w" and header["slots"] == 4
    ids = [
        *map(str, range(1, 4)),
        *["sampled"] * 3,
        "5",
        "77",
        "7",
        "8",
        "long",
        "stopped",
        *map(str, range(11, 23)),
    ]
    assert [row["id"] for row in rows] == ids
    assert [row["sample"] for row in rows[3:6]] == [0, 1, 2]
    assert all(len(pairs) in (2, 3) for pairs in rows[3]["logprobs"])
    assert (
        "has 161 tokens, which leaves no room for an answer in the model's 160 positions" in rows[10]["error"]
    )
    assert rows[11]["finish_reason"] != "stop" or "a" not in rows[11]["text"]
    assert rows[0]["prompt_tokens"] == len(json.loads(prompts.read_text().splitlines()[0])["prompt"]) + 1
    said = capsys.readouterr().out
    assert (
        "22 prompts of " in said
        and "tokens, 23 answers, of which 0 are there; 4 slots of 64 tokens, " in said
    )
    assert "of keys and values" in said and "1 prompt could not be answered" in said
    share = sum(row.get("finish_reason") == "length" for row in rows) / 23
    assert f"all 23 answers are there, {share:.1%} of them cut at max_tokens" in said
    before = output.read_bytes()
    ask(model, prompts, output)  # nothing is left to do
    assert output.read_bytes() == before


def test_killed_at_any_moment_and_gone_on_with_is_undisturbed(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "answers.jsonl"
    ask(model, prompts, whole)
    rng = random.Random(1)
    add, kills = AnswersFile.add, 0
    monkeypatch.setattr(asking, "AnswersFile", Killable)
    while True:
        Killable.left = rng.randint(0, 5)
        Killable.torn = rng.random()
        try:
            ask(model, prompts, output)
            break
        except Killed:
            kills += 1
    assert kills >= 4 and add is AnswersFile.add
    assert output.read_bytes() == whole.read_bytes()


class Killable(AnswersFile):
    """Is killed with some part of a line written."""

    left = 0
    torn = 0.0

    def add(self, completion: Completion) -> None:
        if not Killable.left:
            before = self._path.stat().st_size
            super().add(completion)
            size = self._path.stat().st_size
            with self._path.open("r+b") as file:
                file.truncate(before + int(Killable.torn * (size - before)))
            self.close()
            raise Killed
        Killable.left -= 1
        super().add(completion)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": "other"}, r"holds answers with another model \(w, now other\)"),
        ({"defaults": {"max_tokens": 11}}, r"holds answers with another parameters"),
    ],
)
def test_another_model_or_other_parameters_are_refused(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path, changed: dict[str, Any], message: str
) -> None:
    output = tmp_path / "answers.jsonl"
    prompts.write_text('{"prompt": "ab"}\n')
    ask(model, prompts, output)
    before = output.read_bytes()
    with pytest.raises(DataError, match=message):
        ask(model, prompts, output, **changed)
    assert output.read_bytes() == before


def test_another_prompt_under_an_id_is_refused_and_more_prompts_are_not(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "answers.jsonl"
    prompts.write_text('{"prompt": "ab"}\n')
    ask(model, prompts, output)
    prompts.write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    assert ask(model, prompts, output).answers == 2
    prompts.write_text('{"prompt": "ax"}\n{"prompt": "cd"}\n')
    with pytest.raises(
        DataError, match=r"answers\.jsonl:2: answers '1' as it was asked before, with another prompt"
    ):
        ask(model, prompts, output)
    prompts.write_text('{"prompt": "ab"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl:3: answers '2', which the prompts lack"):
        ask(model, prompts, output)


@pytest.mark.parametrize("content", ["precious", "precious\n", '{"id": 1}\n', "\xff\n"])
def test_what_is_no_file_of_answers_is_left_alone(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path, content: str
) -> None:
    output = tmp_path / "answers.jsonl"
    output.write_bytes(content.encode("latin-1"))
    prompts.write_text('{"prompt": "ab"}\n')
    with pytest.raises(DataError, match="name another --output"):
        ask(model, prompts, output)
    assert output.read_bytes() == content.encode("latin-1")


def test_two_processes_do_not_write_one_file(model: Model, tmp_path: pathlib.Path) -> None:
    first = AnswersFile(tmp_path / "answers.jsonl", {}, [])
    with pytest.raises(DataError, match="another process writes it"):
        AnswersFile(tmp_path / "answers.jsonl", {}, [])
    first.close()
    AnswersFile(tmp_path / "answers.jsonl", {}, []).close()


def test_a_file_that_is_not_there_is_told_by_its_flag(model: Model, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"there is no file '.*nothere\.jsonl'; correct --prompts$"):
        ask(model, tmp_path / "nothere.jsonl", tmp_path / "answers.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"prompt": "a", "max_new_tokens": 4}',
            "'max_new_tokens' is no field of a prompt; known are id, prompt,",
        ),
        ('{"prompt": "a", "top_p": 2}', "top_p=2 is not allowed; set a number above 0 and at most 1"),
        ('{"prompt": "a", "messages": []}', "has both of `prompt` and `messages`; write one"),
        ('{"id": 3}', "has neither of `prompt` and `messages`; write one"),
        ('{"prompt": 3}', "prompt must be a text"),
        ('{"messages": []}', "messages must be a list of objects"),
        ('{"prompt": "a", "tools": []}', "tools stand beside `prompt`"),
        ('{"prompt": "a", "id": null}', "id is None; write a text or a whole number"),
        ('{"prompt": "a", "id": "1"}', "the id '1' was there before"),
        ("[1]", "is no JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path, line: str, message: str
) -> None:
    prompts.write_text(f'{{"prompt": "ab"}}\n{line}\n')
    with pytest.raises(DataError) as caught:
        ask(model, prompts, tmp_path / "answers.jsonl")
    assert "prompts.jsonl:2" in str(caught.value) and message in str(caught.value)
    assert not (tmp_path / "answers.jsonl").exists()


def test_a_prompt_that_the_template_cannot_write_is_an_error_row(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    prompts.write_text('{"prompt": "ab"}\n{"messages": [{"role": "robot", "content": "hi"}]}\n')
    output = tmp_path / "answers.jsonl"
    assert ask(model, prompts, output)[:2] == (1, 1)
    assert "use one of system, user, assistant, tool" in rows_of(output)[2]["error"]


def test_max_tokens_must_be_set_somewhere(
    model: Model, prompts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    prompts.write_text('{"prompt": "ab", "max_tokens": 3}\n{"prompt": "ab"}\n')
    with pytest.raises(DataError, match=r"prompts\.jsonl:2: max_tokens is not set"):
        ask(model, prompts, tmp_path / "answers.jsonl", defaults={})
