"""`evaluate answers` with a model: what the engine is asked, and the command as it is typed."""

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from im_jax import evaluate
from im_jax.data.records.conversation import Message
from im_jax.data.templates import make_template
from im_jax.evaluation.answering.answer import answer
from im_jax.evaluation.answering.asked import Answered, Asked, Sampling
from im_jax.evaluation.answering.benchmarks import IFEval, MTBench
from im_jax.evaluation.answering.generated import answers_of, identity
from im_jax.evaluation.answering.store import Store
from im_jax.evaluation.instructions_followed.scoring import Prompt
from im_jax.evaluation.judged.mt_bench import Question, read_answers
from im_jax.generation.generator import Generator
from im_jax.generation.parameters import SamplingParams
from im_jax.generation.requests import Request
from im_jax.models.loaded import Model
from tests.generation.tiny import CONFIG, tiny_model

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def model() -> Model:
    plain = tiny_model()
    return dataclasses.replace(plain, template=make_template("tulu", plain.tokenizer, "2020-01-01"))


@pytest.fixture(scope="module")
def generator(model: Model) -> Generator:
    return Generator(model, slots=4)


def test_answers_are_those_of_the_engine_and_a_long_prompt_is_its_reason(
    model: Model, generator: Generator
) -> None:
    asked = [
        Asked("a", (Message("user", "hi"),), Sampling(5)),
        Asked("b", "text", Sampling(5, temperature=1.0, top_p=0.9, samples=2)),
        Asked("long", "x" * CONFIG.max_positions, Sampling(5, temperature=1.0, samples=2)),
    ]
    found = {(each.id, each.sample): each for each in answers_of(model, generator, 3)(asked)}
    assert set(found) == {("a", 0), ("b", 0), ("b", 1), ("long", 0), ("long", 1)}
    assert found["long", 1].failure.startswith("the prompt has ") and found["long", 1].text == ""
    engine = [
        Request("a", model.prompt([Message("user", "hi")]), SamplingParams(5, seed=3)),
        Request("b", model.text("text"), SamplingParams(5, n=2, temperature=1.0, top_p=0.9, seed=3), True),
    ]
    for each in generator(engine):
        expected = Answered(each.id, each.sample, each.text, each.finish_reason == "stop")
        assert found[each.id, each.sample] == expected


def test_two_turns_and_an_empty_first_answer_are_asked(
    model: Model, generator: Generator, tmp_path: pathlib.Path
) -> None:
    questions = {
        1: Question(1, "math", ("one", "two")),
        2: Question(2, "stem", ("x" * CONFIG.max_positions, "more")),
    }
    bench = MTBench(questions, Sampling(4), {"stem": 0.1})
    with Store(tmp_path / "partial", identity(model, "w", generator, chat=True)) as store:
        report = answer(bench, answers_of(model, generator, 0), store, tmp_path / "out", "me")
    assert report.now == 4 and len(report.failures) == 2
    answers = read_answers(tmp_path / "out")
    assert answers[2] == ("", "") and len(answers[1]) == 2


def test_what_decides_answers_is_told_apart(model: Model, generator: Generator) -> None:
    chat, plain = (identity(model, "w", generator, chat=chat) for chat in (True, False))
    assert chat != plain and chat["slots"] == 4
    other = dataclasses.replace(model, template=make_template("chatml", model.tokenizer, "2020-01-01"))
    assert identity(other, "w", generator, chat=True) != chat


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        evaluate.run(["evaluate", "answers", *words])
    return int(end.value.code or 0)


@pytest.fixture
def prompts(tmp_path: pathlib.Path) -> str:
    records = [{"key": n, "prompt": f"p{n}", "instruction_id_list": ["a"], "kwargs": [{}]} for n in range(3)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_the_command_asks_goes_on_and_refuses_what_is_another_run(
    prompts: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from im_jax import opening

    config = dataclasses.replace(tiny_model())
    opened = dataclasses.replace(config, template=make_template("tulu", config.tokenizer, "2020-01-01"))
    monkeypatch.setattr(opening, "open_model", lambda *_args, **_kwargs: opened)
    output = tmp_path / "a.jsonl"
    flags = [
        "--config=configs/cpu_debug.py",
        "--benchmark=ifeval",
        f"--data={prompts}",
        f"--output={output}",
        "--max_tokens=4",
        "--slots=4",
        "--model_name=me",
    ]
    assert run(*flags, "--limit=2") == 0
    assert "2 answers in" in capsys.readouterr().err
    before = output.read_text().splitlines()
    assert run(*flags) == 0
    assert "3 answers in" in (said := capsys.readouterr().err) and "2 of them from before" in said
    assert output.read_text().splitlines()[:2] == before
    assert json.loads(before[0])["prompt"] == "p0"
    assert run(*flags, "--temperature=0.5") == 2
    assert (
        "holds answers with temperature=0.0, and this is temperature=0.5; name another --output"
        in capsys.readouterr().err
    )
    (tmp_path / "b.jsonl").write_text("")
    assert run(*flags, f"--output={tmp_path / 'b.jsonl'}") == 2
    assert "b.jsonl is there, and was not begun by this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: no model to ask; set --workdir=DIR of a run, --model=DIR, or --config=FILE"),
        (["--config=configs/cpu_debug.py"], "error: which benchmark? set --benchmark to one of alpaca_eval, mt_bench, ifeval, human_eval"),
        (["--config=configs/cpu_debug.py", "--benchmark=ifeval"], "error: asking ifeval needs --data, which is not given"),
        (["--config=configs/cpu_debug.py", "--benchmark=ifeval", "--data=no.jsonl", "--output=x"], "error: --data=no.jsonl: there is no such file"),
        (["--config=configs/cpu_debug.py", "--benchmark=ifeval", "--data=PROMPTS", "--output=x", "--samples=3"], "error: --samples is not for ifeval"),
        (["--config=configs/cpu_debug.py", "--benchmark=ifeval", "--data=PROMPTS", "--output=x", "--temperature=9"], "error: temperature=9.0 is not allowed; set a number from 0 to 2"),
        (["--config=configs/cpu_debug.py", "--benchmark=ifeval", "--data=PROMPTS", "--output=no/x"], "error: --output=no/x: there is no folder no; make it"),
    ],
)  # fmt: skip
def test_first_mistakes_are_one_line(
    words: list[Any], message: str, prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(word.replace("PROMPTS", prompts) for word in words)) == 2
    said = capsys.readouterr().err
    assert said.startswith(message) and said.count("\n") == 1


def test_ids_are_others_where_prompts_are() -> None:
    first, second = (IFEval([Prompt(1, text, ("a",), ({},))], Sampling(1)).ready({})[0].id for text in "ab")
    assert first != second
