"""MT-Bench: questions, ratings and means, by hand and on the real questions."""

import json
import math
import pathlib
import statistics

import pytest

from im_jax.errors import DataError
from im_jax.evaluation.judged.mt_bench import TEMPERATURES, Question, read_answers, read_questions
from im_jax.evaluation.judged.mt_bench_scores import Scores, mt_bench_scores, rating, read_judgements

QUESTIONS = {1: Question(1, "math", ("a", "b")), 2: Question(2, "stem", ("c", "d"))}


def write(path: pathlib.Path, *records: dict[str, object]) -> pathlib.Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def scored(path: pathlib.Path, questions: dict[int, Question]) -> list[Scores]:
    return [mt_bench_scores(judged, questions) for judged in read_judgements(path)]


def judged(number: int, turn: int, score: float, model: str = "m") -> dict[str, object]:
    return {
        "question_id": number,
        "model": model,
        "judge": ["gpt-4", "single-v1"],
        "score": score,
        "turn": turn,
    }


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Rating: [[7]]", 7.0), ("Rating: [[7.5]] and [[3]]", 7.5), ("[3] Rating: [[8]]", 8.0), ("Rating: [9]", 9.0),
        ("Rating: 9", -1.0), ("[[n/a]]", -1.0), ("", -1.0), ("[[10]]", 10.0), ("[[-1]]", -1.0),
    ],
)  # fmt: skip
def test_a_rating_is_the_first_in_double_brackets_else_in_single(text: str, score: float) -> None:
    assert rating(text) == score


def test_means_by_turn_category_and_all_leave_out_and_count_what_has_no_rating(
    tmp_path: pathlib.Path,
) -> None:
    scores = [(1, 1, 8), (1, 2, 4), (2, 1, 5), (2, 2, -1)]
    (found,) = scored(write(tmp_path / "j.jsonl", *(judged(*s) for s in scores)), QUESTIONS)
    assert {turn: (mean.value, mean.count) for turn, mean in found.turns.items()} == {
        1: (6.5, 2),
        2: (4.0, 1),
    }
    assert found.overall.value == pytest.approx(17 / 3) and found.overall.count == 3 and found.unrated == 1
    assert {name: mean.value for name, mean in found.categories.items()} == {"math": 6.0, "stem": 5.0}
    assert (found.model, found.judge) == ("m", "gpt-4")
    assert found.turns[1].standard_error == pytest.approx(statistics.stdev([8, 5]) / math.sqrt(2))


def test_turns_of_a_question_are_one_cluster(tmp_path: pathlib.Path) -> None:
    # Both turns alike: the error is that of the questions alone.
    scores = [(1, 1, 8), (1, 2, 8), (2, 1, 4), (2, 2, 4)]
    (found,) = scored(write(tmp_path / "j.jsonl", *(judged(*s) for s in scores)), QUESTIONS)
    assert found.overall.standard_error == pytest.approx(statistics.stdev([8, 4]) / math.sqrt(2))


def test_models_of_a_file_are_apart(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "j.jsonl", judged(1, 1, 8), judged(1, 1, 2, "n"))
    assert [(each.model, each.overall.value) for each in scored(path, {})] == [
        ("m", 8.0),
        ("n", 2.0),
    ]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([judged(1, 1, 8), judged(1, 1, 7)], "j.jsonl:2: turn 1 of question 1 is judged twice for m"),
        ([judged(1, 1, -1)], "none of 1 judgements of m has a rating"),
        ([judged(9, 1, 8)], "question 9 is judged and is none of these"),
        ([{"question_id": 1}], "j.jsonl:1: has no field 'model'"),
        ([judged(1, 1, True)], "score must be a whole number or a number, not True"),
    ],
)
def test_judgements_that_cannot_be_scored_are_named(
    records: list[dict[str, object]], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DataError, match=message):
        scored(write(tmp_path / "j.jsonl", *records), QUESTIONS)


def test_answers_are_read_by_question_and_refused_twice(tmp_path: pathlib.Path) -> None:
    answer = {"question_id": 1, "choices": [{"index": 0, "turns": ["x", "y"]}]}
    assert read_answers(write(tmp_path / "a.jsonl", answer)) == {1: ("x", "y")}
    with pytest.raises(DataError, match=r"a.jsonl:2: question 1 is answered twice"):
        read_answers(write(tmp_path / "a.jsonl", answer, answer))
    with pytest.raises(DataError, match="choices must hold one answer, and holds 0"):
        read_answers(write(tmp_path / "a.jsonl", answer | {"choices": []}))


def test_the_real_questions_have_two_turns_and_known_temperatures(shared_data: pathlib.Path) -> None:
    questions = read_questions(shared_data / "mt_bench" / "mt_bench")
    assert len(questions) == 80 and {len(each.turns) for each in questions.values()} == {2}
    assert {each.category for each in questions.values()} == set(TEMPERATURES)
    references = read_answers(shared_data / "mt_bench" / "mt_bench" / "reference_answer" / "gpt-4.jsonl")
    assert len(references) == 30 and set(references) <= set(questions)
