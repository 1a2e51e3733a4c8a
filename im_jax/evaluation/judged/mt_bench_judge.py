"""MT-Bench answers graded one by one by another model, with FastChat's prompts and in its files."""

import os
import pathlib
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.judged.asking import Answers, Query
from im_jax.evaluation.judged.mt_bench import WITH_REFERENCE, Question, read_answers
from im_jax.evaluation.judged.mt_bench_scores import NO_RATING, rating
from im_jax.evaluation.records import Kind, read_records

MAX_TOKENS: Final = 2048
"""For a judgement."""
_FAILED: Final = "$ERROR$"
"""FastChat's judgement where there is none."""
_PROMPT: Final = {False: "single-v1", True: "single-math-v1"}
_SECOND_TURN: Final = "-multi-turn"
_PLACE: Final = re.compile(r"\{(\w+)\}")
_TURNS: Final = (1, 2)


class Prompt(NamedTuple):
    """Words for a judge."""

    system: str
    template: str
    """With places in braces."""


class Grading(NamedTuple):
    """One turn of one question, to be graded."""

    question: Question
    turn: int
    """1 or 2."""
    prompt: str
    """Name of the prompt."""
    user: str
    """What the judge is shown."""
    body: Mapping[str, Any]
    """Of the request."""

    @property
    def name(self) -> str:
        """For people."""
        return f"question {self.question.question_id} turn {self.turn}"


def read_prompts(folder: str | os.PathLike[str]) -> dict[str, Prompt]:
    """FastChat's `judge_prompts.jsonl`, in its folder of MT-Bench or the one above.

    Raises:
        UserError: it is not there, or lacks one of the four prompts for single answers.
    """
    places = [
        pathlib.Path(folder) / "judge_prompts.jsonl",
        pathlib.Path(folder).parent / "judge_prompts.jsonl",
    ]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"--data={folder}: has no judge_prompts.jsonl, nor has the folder above; copy FastChat's"
        )
    fields: dict[str, Kind] = {"name": str, "system_prompt": str, "prompt_template": str}
    found = {
        item.value["name"]: Prompt(item.value["system_prompt"], item.value["prompt_template"])
        for item in read_records(path, fields, "data")
    }
    needed = [name + end for name in _PROMPT.values() for end in ("", _SECOND_TURN)]
    if missing := [name for name in needed if name not in found]:
        raise DataError(f"{path}: has no prompt {missing[0]!r}; copy FastChat's")
    return found


def read_references(folder: str | os.PathLike[str]) -> dict[int, tuple[str, ...]]:
    """FastChat's `reference_answer/gpt-4.jsonl`.

    Raises:
        UserError: it is not there, or is no file of answers.
    """
    return read_answers(pathlib.Path(folder) / "reference_answer" / "gpt-4.jsonl", "data")


def gradings(
    questions: Mapping[int, Question],
    answers: Mapping[int, tuple[str, ...]],
    references: Mapping[int, tuple[str, ...]],
    prompts: Mapping[str, Prompt],
    model: str,
    changed: Mapping[str, Any] = MappingProxyType({}),
) -> list[Grading]:
    """Both turns of every question that is answered.

    Args:
        questions: all.
        answers: turns of the model's, by question.
        references: turns of the reference's, by question.
        prompts: by name.
        model: the judge, as the server calls it.
        changed: fields of the request that are other than FastChat's; None leaves one out.

    Raises:
        DataError: an answer is of no question, has other turns, or lacks its reference.
    """
    if strange := [number for number in answers if number not in questions]:
        raise DataError(f"question {strange[0]} is answered and is none of these; give the file it came from")
    graded = []
    for number, question in questions.items():
        if number not in answers:
            continue
        if len(answers[number]) != len(_TURNS) or len(question.turns) != len(_TURNS):
            raise DataError(
                f"question {number} needs {len(_TURNS)} turns, and has {len(answers[number])} answers"
            )
        with_reference = question.category in WITH_REFERENCE
        reference = references.get(number, ()) if with_reference else ()
        if with_reference and len(reference) != len(_TURNS):
            raise DataError(
                f"question {number} ({question.category}) is graded beside a reference, and has none"
            )
        for turn in _TURNS:
            name = _PROMPT[with_reference] + (_SECOND_TURN if turn == 2 else "")
            user = _fill(prompts[name].template, question, answers[number], reference)
            messages = [
                {"role": "system", "content": prompts[name].system},
                {"role": "user", "content": user},
            ]
            body = {
                "model": model,
                "messages": messages,
                "temperature": 0.0,
                "max_tokens": MAX_TOKENS,
                **changed,
            }
            body = {key: value for key, value in body.items() if value is not None}
            graded.append(Grading(question, turn, name, user, body))
    return graded


def queries(graded: list[Grading]) -> list[Query]:
    """What to ask."""
    return [Query(each.name, each.body) for each in graded]


def judgements(graded: list[Grading], answers: Answers, model: str, judge: str) -> list[dict[str, Any]]:
    """The records of FastChat's `model_judgment`, in order.

    One without an answer has FastChat's word for that and its score, -1; why a judgement has no rating is put
    into `answers.failures`.

    Args:
        graded: what was asked.
        answers: what came of it.
        model: whose answers they are.
        judge: who graded.
    """
    records = []
    for each in graded:
        completion = answers.completions.get(each.name)
        text = completion.choice["message"]["content"] if completion else _FAILED
        score = rating(text) if completion else NO_RATING
        if completion and score == NO_RATING:
            answers.failures[each.name] = f"no rating: {text[-60:]!r}"
        records.append(
            {
                "question_id": each.question.question_id,
                "model": model,
                "judge": [judge, each.prompt],
                "user_prompt": each.user,
                "judgment": text,
                "score": score,
                "turn": each.turn,
                "tstamp": time.time(),
            }
        )
    return records


def _fill(template: str, question: Question, answer: tuple[str, ...], reference: tuple[str, ...]) -> str:
    """Put texts into the places of a template, each read as it stands: it may hold braces."""
    places = {"question": question.turns[0], "answer": answer[0]}
    for turn in _TURNS:
        places[f"question_{turn}"], places[f"answer_{turn}"] = question.turns[turn - 1], answer[turn - 1]
        if reference:
            places[f"ref_answer_{turn}"] = reference[turn - 1]
    return _PLACE.sub(lambda place: places.get(place[1], place[0]), template)
