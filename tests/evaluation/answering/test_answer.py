"""Answer files: what is asked, in which rounds; formats; and a run that is stopped goes on where it stood."""

import json
import pathlib
from collections.abc import Iterator, Sequence

import pytest

from im_jax.data.records.conversation import Message
from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.answering.answer import answer
from im_jax.evaluation.answering.asked import Answered, Asked, Sampling
from im_jax.evaluation.answering.benchmarks import AlpacaEval, Benchmark, HumanEval, IFEval, MTBench, defaults
from im_jax.evaluation.answering.store import Store
from im_jax.evaluation.code.human_eval import Problem, read_samples
from im_jax.evaluation.instructions_followed.scoring import Prompt, read_responses
from im_jax.evaluation.judged.alpaca_eval import Output, read_outputs
from im_jax.evaluation.judged.mt_bench import TEMPERATURES, Question, read_answers, read_questions

SAMPLING = Sampling(16)
ALPACA = AlpacaEval({f"i{n}": Output(f"i{n}", "ref", "r", "koala") for n in range(4)}, SAMPLING)
MT = MTBench(
    {1: Question(1, "writing", ("w1", "w2")), 2: Question(2, "math", ("m1", "m2"))}, SAMPLING, TEMPERATURES
)
IF = IFEval([Prompt(n, f"p{n}", ("a",), ({},)) for n in range(5)], SAMPLING)
CODE = HumanEval(
    {f"t/{n}": Problem(f"t/{n}", f"def f{n}():\n", "test", "f") for n in range(2)},
    Sampling(16, samples=3),
    (0.1, 0.7),
)


class Model:
    """Says what it was asked, backwards in order, and keeps that; stops after some answers, as a kill would."""

    def __init__(self, stops_after: int = 10**6) -> None:
        self.rounds: list[list[Asked]] = []
        self.left = stops_after

    def __call__(self, asked: Sequence[Asked]) -> Iterator[Answered]:
        self.rounds.append(list(asked))
        for each in reversed(asked):
            for sample in range(each.sampling.samples):
                if not self.left:
                    raise KeyboardInterrupt
                self.left -= 1
                last = each.prompt if isinstance(each.prompt, str) else each.prompt[-1].content
                yield Answered(each.id, sample, f" {last} #{sample} ", True)


def run(
    benchmark: Benchmark, model: Model, folder: pathlib.Path, identity: dict[str, object] | None = None
) -> pathlib.Path:
    output = folder / "answers"
    with Store(folder / "partial", identity or {}) as store:
        answer(benchmark, model, store, output, "me")
    return output


def test_alpaca_eval_is_written_as_it_reads_it(tmp_path: pathlib.Path) -> None:
    model = Model()
    output = run(ALPACA, model, tmp_path)
    assert json.loads(output.read_text())[1] == {
        "dataset": "koala",
        "instruction": "i1",
        "output": " i1 #0 ",
        "generator": "me",
    }
    assert list(read_outputs(output, "answers")) == ["i0", "i1", "i2", "i3"]
    assert model.rounds[0][0].prompt == (Message("user", "i0"),) and len(model.rounds) == 1


def test_mt_bench_asks_the_second_turn_after_the_first_at_the_temperature_of_its_category(
    tmp_path: pathlib.Path,
) -> None:
    model = Model()
    output = run(MT, model, tmp_path)
    first, second = model.rounds
    assert [(a.prompt, a.sampling.temperature) for a in first] == [
        ((Message("user", "w1"),), 0.7), ((Message("user", "m1"),), 0.0),
    ]  # fmt: skip
    assert second[0].prompt == (Message("user", "w1"), Message("assistant", "w1 #0"), Message("user", "w2"))
    record = json.loads(output.read_text().splitlines()[0])
    assert (record["question_id"], record["model_id"]) == (1, "me")
    assert record["choices"] == [{"index": 0, "turns": ["w1 #0", "w2 #0"]}]
    assert read_answers(output) == {1: ("w1 #0", "w2 #0"), 2: ("m1 #0", "m2 #0")}


def test_ifeval_is_written_as_it_reads_it(tmp_path: pathlib.Path) -> None:
    assert read_responses(run(IF, Model(), tmp_path)) == {f"p{n}": f" p{n} #0 " for n in range(5)}


def test_human_eval_goes_on_with_functions_at_each_temperature(tmp_path: pathlib.Path) -> None:
    model = Model()
    problems = {f"t/{n}": Problem(f"t/{n}", f"def f{n}():\n", "test", "f") for n in range(2)}
    samples = read_samples(run(CODE, model, tmp_path), problems)
    assert len(samples) == CODE.total == 12
    assert [(s.task_id, s.temperature) for s in samples[::3]] == [
        ("t/0", 0.1),
        ("t/1", 0.1),
        ("t/0", 0.7),
        ("t/1", 0.7),
    ]
    assert samples[2].completion == " def f0():\n #2 "
    (asked,) = model.rounds
    assert asked[0].prompt == "def f0():\n" and "\ndef" in asked[0].sampling.stop
    assert len({each.id for each in asked}) == 4, "each temperature draws for itself"


@pytest.mark.parametrize("benchmark", [ALPACA, MT, IF, CODE])
@pytest.mark.parametrize("stops", [(0,), (1, 1, 1), (2, 1), (3,)])
def test_a_stopped_run_goes_on_and_gives_the_same(
    benchmark: Benchmark, stops: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "whole").mkdir()
    undisturbed = run(benchmark, Model(), tmp_path / "whole").read_text()
    for count in stops:
        with pytest.raises(KeyboardInterrupt):
            run(benchmark, Model(stops_after=count), tmp_path)
        assert not (tmp_path / "answers").exists()
    with (tmp_path / "partial").open("ab") as file:
        file.write(b'{"id": "cut o')
    model = Model()
    found = run(benchmark, model, tmp_path).read_text()

    def without_time(text: str) -> object:
        if not benchmark.as_lines:
            return json.loads(text)
        return [{k: v for k, v in json.loads(line).items() if k != "tstamp"} for line in text.splitlines()]

    assert without_time(found) == without_time(undisturbed)
    again = Model()
    run(benchmark, again, tmp_path)
    assert again.rounds == []


def test_answers_of_another_model_or_manner_are_refused(tmp_path: pathlib.Path) -> None:
    run(ALPACA, Model(), tmp_path, {"model": "a", "temperature": 0.0})
    for other, named in (({"model": "b", "temperature": 0.0}, "model=a, and this is model=b"), ({"model": "a", "temperature": 0.7}, "temperature=0.0, and this is temperature=0.7"), ({"model": "a", "temperature": 0.0, "seed": 1}, "seed=None, and this is seed=1")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"partial holds answers with {named}"):
            run(ALPACA, Model(), tmp_path, other)
    (tmp_path / "partial").write_text('{"format": 1, "identity": {}}\nnonsense\n')
    with pytest.raises(DataError, match=r"partial:2: is no line of answers"):
        run(ALPACA, Model(), tmp_path)


def test_a_process_that_does_not_write_writes_nothing(tmp_path: pathlib.Path) -> None:
    with Store(tmp_path / "partial", {}, writes=False) as store:
        report = answer(ALPACA, Model(), store, tmp_path / "out", "me", writes=False)
    assert report.now == 4 and list(tmp_path.iterdir()) == []


def test_what_ran_out_of_tokens_is_empty_or_could_not_be_asked_is_counted(tmp_path: pathlib.Path) -> None:
    def model(asked: Sequence[Asked]) -> Iterator[Answered]:
        said = [("text", True, ""), ("cut", False, ""), (" ", True, ""), ("", False, "prompt of 9 tokens")]
        for each, (text, ended, failure) in zip(asked, said, strict=True):
            yield Answered(each.id, 0, text, ended, failure)

    with Store(tmp_path / "partial", {}) as store:
        report = answer(ALPACA, model, store, tmp_path / "out", "me")
    assert (report.now, report.cut, report.empty, list(report.failures.values())) == (
        4,
        1,
        2,
        ["prompt of 9 tokens"],
    )
    assert [each["output"] for each in json.loads((tmp_path / "out").read_text())] == ["text", "cut", " ", ""]


def test_a_prompt_that_is_not_answered_is_an_error_and_no_endless_loop(tmp_path: pathlib.Path) -> None:
    with (
        Store(tmp_path / "partial", {}) as store,
        pytest.raises(RuntimeError, match="was asked, and not answered"),
    ):
        answer(ALPACA, lambda asked: iter(()), store, tmp_path / "out", "me")


def test_defaults_are_those_of_the_publishers_and_the_paper() -> None:
    assert defaults("mt_bench") == Sampling(1024) and defaults("ifeval") == Sampling(1280)
    assert defaults("human_eval") == Sampling(512, top_p=0.95, samples=20)


def test_the_real_questions_are_asked_in_two_rounds(
    shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    questions = read_questions(shared_data / "mt_bench" / "mt_bench")
    model = Model()
    output = run(MTBench(questions, SAMPLING, TEMPERATURES), model, tmp_path)
    assert [len(each) for each in model.rounds] == [80, 80] and len(read_answers(output)) == 80
