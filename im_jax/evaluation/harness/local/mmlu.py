"""MMLU: a table for each subject and split, `question,choice0,...,choice3,answer`, the answer from 0."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, csv_rows, parsed

PREFIX = "mmlu_"


def names(task: str) -> tuple[str, ...]:
    """The files of a task `mmlu_SUBJECT`."""
    subject = task.removeprefix(PREFIX)
    return tuple(f"mmlu/{split}/{subject}_{split}.csv" for split in ("dev", "test"))


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns question, choices, answer, subject."""
    subject = task.removeprefix(PREFIX)

    def row(record: Row) -> Row:
        answer = int(record["answer"])
        if not 0 <= answer < 4:
            raise ValueError(f"answer {answer} is not 0 to 3")
        choices = [record[f"choice{number}"] for number in range(4)]
        if any(choice is None for choice in choices):
            raise ValueError("a choice is missing")
        return {"question": record["question"], "choices": choices, "answer": answer, "subject": subject}

    files = dict(zip(("dev", "test"), names(task), strict=True))
    return {split: parsed(csv_rows(folder, name), row, folder / name) for split, name in files.items()}
