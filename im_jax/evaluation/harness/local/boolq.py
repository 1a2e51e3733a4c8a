"""BoolQ as LLM-Adapters writes it, without its passages: questions to be answered from memory."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("commonsense/boolq/test.json",)
_ASKED = "Please answer the following question with true or false, question: "
_FORMAT = "\n\nAnswer format: true/false"


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns question, without its final question mark, and label (0 or 1)."""
    del task
    return {"validation": parsed(json_rows(folder, FILES[0]), _row, folder / FILES[0])}


def _row(record: Row) -> Row:
    text = record["instruction"]
    if not (text.startswith(_ASKED) and text.endswith(_FORMAT)):
        raise ValueError(f"not in the form of {_ASKED!r} ...")
    question = text.removeprefix(_ASKED).removesuffix(_FORMAT).removesuffix("?")
    return {"question": question, "label": {"false": 0, "true": 1}[record["answer"]]}
