"""PIQA as LLM-Adapters writes it: a goal and two solutions, with blank lines between."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("piqa/test.json",)
_ASKED = "Please choose the correct solution to the question: "
_MARKS = ("\n\nSolution1: ", "\n\nSolution2: ", "\n\nAnswer format: solution1/solution2")


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns goal, sol1, sol2, label (0 or 1). The official validation split; there is no training split."""
    del task
    return {"validation": parsed(json_rows(folder, FILES[0]), _row, folder / FILES[0])}


def _row(record: Row) -> Row:
    rest, parts = record["instruction"], []
    for mark in _MARKS:
        part, found, rest = rest.partition(mark)
        if not found:
            raise ValueError(f"{mark.strip()!r} is not there")
        parts.append(part)
    if rest or not parts[0].startswith(_ASKED):
        raise ValueError(f"not in the form of {_ASKED!r} ...")
    label = {"solution1": 0, "solution2": 1}[record["answer"]]
    return {"goal": parts[0].removeprefix(_ASKED), "sol1": parts[1], "sol2": parts[2], "label": label}
