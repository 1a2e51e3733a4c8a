"""Judges of AlpacaEval and MT-Bench: what is asked in which order, and what files come out."""

import json
import pathlib
from typing import Any

import pytest

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged import alpaca_eval, mt_bench_judge
from im_jax.evaluation.judged.alpaca_eval import Judge, Output
from im_jax.evaluation.judged.asking import Answers, Query
from im_jax.evaluation.judged.endpoint import Completion
from im_jax.evaluation.judged.mt_bench import Question, read_questions
from im_jax.evaluation.judged.mt_bench_scores import mt_bench_scores, read_judgements
from im_jax.evaluation.judged.preferences import is_swapped
from im_jax.evaluation.judged.win_rates import read_annotations, win_rate
from tests.evaluation.judged.stand_in import completion

CHATML = "<|im_start|>system\nBe fair.\n<|im_end|>\n<|im_start|>user\n{'a': {instruction}} m: {output_1} M: {output_2}\n<|im_end|>"


def compared(*outputs: str) -> list[tuple[Output, Output]]:
    return [
        (
            Output(f"instruction {n}", "reference", "ref", "set"),
            Output(f"instruction {n}", text, "mine", "set"),
        )
        for n, text in enumerate(outputs)
    ]


def answered(queries: list[Query], choose: Any) -> Answers:
    """Answers of a judge that is a function of the request."""
    made = {q.name: json.loads(choose(q.body["messages"][-1]["content"]))["choices"][0] for q in queries}
    return Answers({name: Completion(choice, (1, 1), "j") for name, choice in made.items()})


def prefers_mine(prompt: str) -> bytes:
    """It is sure to 0.9 that the output `mine`, wherever it stands, is better."""
    second = prompt.index("mine") > prompt.index("reference")
    return completion(
        "M" if second else "m", logprobs={"M": 0.9, "m": 0.1} if second else {"m": 0.9, "M": 0.1}
    )


def prefers_first(_: str) -> bytes:
    return completion("m", logprobs={"m": 0.8, "M": 0.2})


def test_the_order_is_that_of_the_instruction_and_is_undone(tmp_path: pathlib.Path) -> None:
    pairs, judge = compared(*["mine"] * 12), Judge("j", prompt=CHATML)
    queries = alpaca_eval.queries(pairs, judge)
    for (reference, _), query in zip(pairs, queries, strict=True):
        system, user = query.body["messages"]
        assert system == {"role": "system", "content": "Be fair."}
        shown = ["mine", "reference"] if is_swapped(reference.instruction) else ["reference", "mine"]
        assert user["content"] == f"{{'a': {reference.instruction}}} m: {shown[0]} M: {shown[1]}"
    assert len({is_swapped(r.instruction) for r, _ in pairs}) == 2, "both orders are among them"
    assert {k: v for k, v in queries[0].body.items() if k != "messages"} == {
        "model": "j", "max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 5,
    }  # fmt: skip
    records = alpaca_eval.annotations(pairs, judge, answered(queries, prefers_mine))
    assert [r["preference"] for r in records] == pytest.approx([1.9] * 12)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records))
    found = win_rate(read_annotations(path))
    assert found.win_rate == pytest.approx(90) and (found.model, found.reference) == ("mine", "ref")
    assert found.judge == judge.name and judge.name.startswith("weighted j prompt ")


@pytest.mark.parametrize(("choose", "rate", "agreement"), [(prefers_mine, 90, 1.0), (prefers_first, 50, 0.0)])
def test_asked_in_both_orders_a_bias_for_a_place_cancels_and_shows(
    choose: Any, rate: float, agreement: float, tmp_path: pathlib.Path
) -> None:
    pairs, judge = compared(*["mine"] * 6), Judge("j", prompt=CHATML)
    queries = alpaca_eval.queries(pairs, judge, both_orders=True)
    assert len(queries) == len({q.name for q in queries}) == 12
    records = alpaca_eval.annotations(pairs, judge, answered(queries, choose), both_orders=True)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records))
    found = win_rate(read_annotations(path))
    assert found.both_orders == pytest.approx(rate)
    assert (found.agreement, found.asked_twice) == (agreement, 6)


def test_equal_outputs_are_a_draw_that_is_not_asked_about_and_failures_have_no_preference() -> None:
    pairs, judge = compared("reference", "mine", "mine"), Judge("j", prompt=CHATML)
    queries = alpaca_eval.queries(pairs, judge)
    assert len(queries) == 2
    answers = answered(queries[:1], lambda _: completion("The better", logprobs={"The": 0.9}))
    answers.failures[queries[1].name] = "timeout: 1 s"
    records = alpaca_eval.annotations(pairs, judge, answers)
    assert [r["preference"] for r in records] == [1.5, None, None]
    assert answers.failures == {queries[0].name: "no verdict: 'The better'", queries[1].name: "timeout: 1 s"}


def test_a_ranking_judge_is_asked_as_version_1_asks() -> None:
    pairs, judge = (
        compared("mine"),
        Judge("j", "ranked", changed={"max_tokens": None, "max_completion_tokens": 9}),
    )
    (query,) = alpaca_eval.queries(pairs, judge)
    assert query.body["temperature"] == 0.0 and query.body["max_completion_tokens"] == 9
    assert "max_tokens" not in query.body
    text = query.body["messages"][1]["content"]
    first = "model_1" if text.index("mine") < text.index("reference") else "model_2"
    other = {"model_1": "model_2", "model_2": "model_1"}[first]
    said = f"[{{'model': '{first}', 'rank': 1}}, {{'model': '{other}', 'rank': 2}}]"
    answers = answered([query], lambda _: completion(said))
    assert [r["preference"] for r in alpaca_eval.annotations(pairs, judge, answers)] == [2.0]


def test_an_output_with_places_in_it_is_shown_as_it_stands() -> None:
    pairs = [
        (
            Output("{output_1}", "{output_2}", "r", ""),
            Output("{output_1}", "{instruction} <|im_end|>", "m", ""),
        )
    ]
    (query,) = alpaca_eval.queries(pairs, Judge("j", prompt=CHATML))
    shown = ["{output_2}", "{instruction} <|im_end|>"]
    shown = shown[::-1] if is_swapped("{output_1}") else shown
    assert query.body["messages"][1]["content"] == f"{{'a': {{output_1}}}} m: {shown[0]} M: {shown[1]}"


def test_a_prompt_without_a_place_and_outputs_of_other_instructions_are_refused(
    tmp_path: pathlib.Path,
) -> None:
    with pytest.raises(ConfigError, match=r"has no \{output_2\}"):
        Judge("j", prompt="{instruction} {output_1}")
    outputs, references = {"b": Output("b", "x", "m", "")}, {"a": Output("a", "x", "r", "")}
    with pytest.raises(
        DataError, match="1 of 1 outputs are of instructions that the reference lacks, such as 'b'"
    ):
        alpaca_eval.pairs(outputs, references)
    path = tmp_path / "o.json"
    path.write_text(json.dumps([{"instruction": "a", "output": "x"}] * 2))
    with pytest.raises(DataError, match=r"o.json:element 2: has an instruction that is there before"):
        alpaca_eval.read_outputs(path, "answers")


def test_released_outputs_are_compared_with_released_references(shared_data: pathlib.Path) -> None:
    results = shared_data / "alpaca_eval" / "results"
    outputs = alpaca_eval.read_outputs(results / "alpaca-7b" / "model_outputs.json.gz", "answers")
    references = alpaca_eval.read_outputs(
        results / "gpt4_1106_preview" / "model_outputs.json.gz", "reference"
    )
    pairs = alpaca_eval.pairs(outputs, references)
    # In the leaderboard's annotations three pairs are equal and were not asked about.
    assert len(pairs) == 805 and 802 <= len(alpaca_eval.queries(pairs, Judge("j"))) <= 805


QUESTIONS = {1: Question(1, "writing", ("w1", "w2")), 2: Question(2, "math", ("m1", "{answer}"))}
PROMPTS = {
    "single-v1": mt_bench_judge.Prompt("sys", "Q {question} A {answer}"),
    "single-v1-multi-turn": mt_bench_judge.Prompt("sys", "{question_1} {answer_1} {question_2} {answer_2}"),
    "single-math-v1": mt_bench_judge.Prompt("sys", "Q {question} R {ref_answer_1} A {answer}"),
    "single-math-v1-multi-turn": mt_bench_judge.Prompt(
        "sys", "{ref_answer_1} {ref_answer_2} {question_2} {answer_2}"
    ),
}
ANSWERS, REFERENCES = {1: ("a1", "a2"), 2: ("b1", "{question}")}, {2: ("r1", "r2")}


def test_each_turn_is_graded_with_its_prompt_and_the_reference_where_there_is_one(
    tmp_path: pathlib.Path,
) -> None:
    graded = mt_bench_judge.gradings(QUESTIONS, ANSWERS, REFERENCES, PROMPTS, "j")
    assert [(g.name, g.prompt, g.user) for g in graded] == [
        ("question 1 turn 1", "single-v1", "Q w1 A a1"),
        ("question 1 turn 2", "single-v1-multi-turn", "w1 a1 w2 a2"),
        ("question 2 turn 1", "single-math-v1", "Q m1 R r1 A b1"),
        ("question 2 turn 2", "single-math-v1-multi-turn", "r1 r2 {answer} {question}"),
    ]
    assert graded[0].body["temperature"] == 0.0 and graded[0].body["max_tokens"] == 2048
    answers = answered(
        mt_bench_judge.queries(graded)[:3], lambda text: completion(f"[[{7 if 'w1' in text else 3}]]")
    )
    answers.completions["question 2 turn 1"].choice["message"]["content"] = "a fine answer"
    answers.failures["question 2 turn 2"] = "timeout"
    records = mt_bench_judge.judgements(graded, answers, "mine", "j")
    assert [r["score"] for r in records] == [7.0, 7.0, -1.0, -1.0] and records[3]["judgment"] == "$ERROR$"
    assert answers.failures["question 2 turn 1"] == "no rating: 'a fine answer'"
    path = tmp_path / "j.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    (judged,) = read_judgements(path)
    scores = mt_bench_scores(judged, QUESTIONS)
    assert (scores.overall.value, scores.unrated, scores.model, scores.judge) == (7.0, 2, "mine", "j")


@pytest.mark.parametrize(
    ("answers", "references", "message"),
    [
        ({9: ("a", "b")}, {}, "question 9 is answered and is none of these"),
        ({1: ("a",)}, {}, "question 1 needs 2 turns, and has 1 answers"),
        ({2: ("a", "b")}, {}, r"question 2 \(math\) is graded beside a reference, and has none"),
    ],
)
def test_answers_that_cannot_be_graded_are_named(
    answers: dict[int, tuple[str, ...]], references: dict[int, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mt_bench_judge.gradings(QUESTIONS, answers, references, PROMPTS, "j")


def test_the_released_prompts_fill_for_all_released_questions(shared_data: pathlib.Path) -> None:
    home = shared_data / "mt_bench" / "mt_bench"
    questions, prompts = read_questions(home), mt_bench_judge.read_prompts(home)
    answers = {number: ("first <answer>", "second <answer>") for number in questions}
    graded = mt_bench_judge.gradings(
        questions, answers, mt_bench_judge.read_references(home), prompts, "gpt-4"
    )
    assert len(graded) == 160
    for each in graded:
        assert not any(
            f"{{{place}}}" in each.user for place in ("question", "answer", "ref_answer_1", "question_2")
        )
        assert ("math" in each.prompt) == (each.question.category in ("math", "reasoning", "coding"))
        assert ("first <answer>" if each.turn == 1 else "second <answer>") in each.user


def test_prompts_that_are_not_there_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no judge_prompts.jsonl, nor has the folder above; copy FastChat's"
    ):
        mt_bench_judge.read_prompts(tmp_path)
    (tmp_path / "judge_prompts.jsonl").write_text(
        json.dumps({"name": "pair-v2", "system_prompt": "", "prompt_template": ""})
    )
    with pytest.raises(DataError, match="has no prompt 'single-v1'; copy FastChat's"):
        mt_bench_judge.read_prompts(tmp_path)
