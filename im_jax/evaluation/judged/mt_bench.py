"""MT-Bench: 80 questions of two turns in eight categories, as FastChat's files have them.

Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (2023).
"""

import os
import pathlib
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from im_jax.errors import DataError
from im_jax.evaluation.records import Item, read_records

MAX_TOKENS: Final = 1024
TEMPERATURES: Final = MappingProxyType(
    {
        "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0,
        "coding": 0.0, "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
    }
)  # fmt: skip
"""FastChat's, by category."""
WITH_REFERENCE: Final = ("math", "reasoning", "coding")
"""Categories whose answers are judged beside a reference."""
WRONG_REFERENCES: Final = (104, 105, 109, 111, 113, 114, 120, 122, 124, 125, 126, 128, 130)
"""Questions whose reference by GPT-4 is wrong (FastChat, pull request 3158)."""


class Question(NamedTuple):
    """What a model is asked, turn by turn."""

    question_id: int
    category: str
    turns: tuple[str, ...]


def read_questions(folder: str | os.PathLike[str], flag: str = "data") -> dict[int, Question]:
    """The questions of FastChat's folder, or of its `question.jsonl`, by number.

    Raises:
        UserError: they are not there, or are not such questions.
    """
    path = pathlib.Path(folder)
    path = path / "question.jsonl" if path.is_dir() else path
    questions: dict[int, Question] = {}
    for item in read_records(path, {"question_id": int, "category": str, "turns": list}, flag):
        question = Question(item.value["question_id"], item.value["category"], _turns(item, "turns"))
        if question.question_id in questions:
            raise DataError(
                f"{item.origin}: question {question.question_id} is there twice; keep one of them"
            )
        questions[question.question_id] = question
    return questions


def read_answers(path: str | os.PathLike[str], flag: str = "answers") -> dict[int, tuple[str, ...]]:
    """The turns of a model's answers (FastChat's `model_answer`), by number of the question.

    Raises:
        UserError: the file is not one of answers, or answers a question twice.
    """
    answers: dict[int, tuple[str, ...]] = {}
    for item in read_records(path, {"question_id": int, "choices": list}, flag):
        number, choices = item.value["question_id"], item.value["choices"]
        if len(choices) != 1 or not isinstance(choices[0], dict):
            raise DataError(f"{item.origin}: choices must hold one answer, and holds {len(choices)}")
        if number in answers:
            raise DataError(f"{item.origin}: question {number} is answered twice; keep one answer")
        answers[number] = _turns(Item(item.origin, choices[0]), "turns")
    return answers


def _turns(item: Item, name: str) -> tuple[str, ...]:
    turns: Any = item.value.get(name)
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise DataError(f"{item.origin}: {name} must be a list of texts")
    return tuple(turns)
