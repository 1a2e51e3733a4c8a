"""WinoGrande as LLM-Adapters writes it: a sentence with one `_`, then `Option1: ... Option2: ...`."""

import pathlib
import re

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("commonsense/winogrande/test.json",)
_FORM = re.compile(
    r"Please choose the correct answer to fill in the blank to complete the given sentence: (.*)"
    r"\n\nOption1: (.*) Option2: (.*) Answer format: option1/option2",
    re.DOTALL,
)


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns sentence, option1, option2, answer (`1` or `2`). The official validation split; no training."""
    del task
    return {"validation": parsed(json_rows(folder, FILES[0]), _row, folder / FILES[0])}


def _row(record: Row) -> Row:
    form = _FORM.fullmatch(record["instruction"])
    if form is None or form[1].count("_") != 1:
        raise ValueError("not a sentence with one blank and two options")
    answer = record["answer"].removeprefix("option")
    if answer not in ("1", "2"):
        raise ValueError(f"answer {answer!r} is neither 1 nor 2")
    return {"sentence": form[1], "option1": form[2], "option2": form[3], "answer": answer}
