"""IFEval: JSON Lines of prompts and the instructions in them, as published."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("ifeval/input_data.jsonl",)


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns key, prompt, instruction_id_list, kwargs. The split is named `train` where it is published."""
    del task
    return {"train": parsed(json_rows(folder, FILES[0]), _row, folder / FILES[0])}


def _row(record: Row) -> Row:
    row = {name: record[name] for name in ("key", "prompt", "instruction_id_list", "kwargs")}
    if len(row["instruction_id_list"]) != len(row["kwargs"]):
        raise ValueError("instructions and their kwargs are not equally many")
    return row
