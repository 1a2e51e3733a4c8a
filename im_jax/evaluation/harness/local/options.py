"""ARC and OpenBookQA as LLM-Adapters writes them: a question, a blank line, `Answer1: ... Answer2: ...`.

Please choose the correct answer to the question: QUESTION

Answer1: FIRST Answer2: SECOND Answer3: THIRD

Answer format: answer1/answer2/answer3
"""

import pathlib
from collections.abc import Callable

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

_ASKED = "Please choose the correct answer to the question: "
_FORMAT = "\n\nAnswer format: "
_LABELS = "ABCDE"


def arc(folder: pathlib.Path, task: str) -> Splits:
    """Columns question, choices {text, label}, answerKey; 3 to 5 choices."""
    name = {"arc_easy": "ARC-Easy", "arc_challenge": "ARC-Challenge"}[task]
    return _splits(folder, f"commonsense/{name}", lambda record: _row(record, "question"))


def openbookqa(folder: pathlib.Path, task: str) -> Splits:
    """Columns question_stem, choices {text, label}, answerKey."""
    del task
    return _splits(folder, "commonsense/openbookqa", lambda record: _row(record, "question_stem"))


def _splits(folder: pathlib.Path, place: str, row: Callable[[Row], Row]) -> Splits:
    files = {split: f"{place}/{split}.json" for split in ("train", "test")}
    return {split: parsed(json_rows(folder, name), row, folder / name) for split, name in files.items()}


def _row(record: Row, question: str) -> Row:
    asked, options = questions_and_options(record["instruction"])
    answer = int(record["answer"].removeprefix("answer"))
    if not 1 <= answer <= len(options):
        raise ValueError(f"answer {answer} of {len(options)} options")
    labels = list(_LABELS[: len(options)])
    return {question: asked, "choices": {"text": options, "label": labels}, "answerKey": labels[answer - 1]}


def questions_and_options(instruction: str) -> tuple[str, list[str]]:
    """What is asked, and the options in order. Raises ValueError at any other form."""
    text, found, answers = instruction.rpartition(_FORMAT)
    asked, first, options = text.partition("\n\nAnswer1: ")
    if not (found and first and asked.startswith(_ASKED)):
        raise ValueError(f"not in the form of {_ASKED!r} ... 'Answer1: '")
    count = len(answers.split("/"))
    parts = []
    for number in range(2, count + 1):
        part, mark, options = options.partition(f" Answer{number}: ")
        if not mark:
            raise ValueError(f"{count} options were said to come, and number {number} is not there")
        parts.append(part)
    return asked.removeprefix(_ASKED), [*parts, options]
