"""GSM8K: JSON Lines of question and answer, as published."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("gsm8k/train.jsonl", "gsm8k/test.jsonl")


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns question, answer."""
    del task
    files = dict(zip(("train", "test"), FILES, strict=True))
    return {split: parsed(json_rows(folder, name), _row, folder / name) for split, name in files.items()}


def _row(record: Row) -> Row:
    if "#### " not in record["answer"]:
        raise ValueError("the answer has no '#### '")
    return {"question": record["question"], "answer": record["answer"]}
