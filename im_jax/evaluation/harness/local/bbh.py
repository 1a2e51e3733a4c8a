"""BIG-Bench Hard: a JSON object a task, with `examples` of input and target."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

PREFIX = "bbh_cot_fewshot_"


def names(task: str) -> tuple[str, ...]:
    """The file of a task `bbh_cot_fewshot_NAME`."""
    return (f"bbh/bbh/{task.removeprefix(PREFIX)}.json",)


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns input, target."""
    (name,) = names(task)
    return {"test": parsed(json_rows(folder, name, "examples"), _row, folder / name)}


def _row(record: Row) -> Row:
    return {"input": str(record["input"]), "target": str(record["target"])}
