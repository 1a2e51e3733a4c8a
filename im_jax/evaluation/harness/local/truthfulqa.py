"""TruthfulQA, several choices: the 817 questions of version 1, which the literature of 2022 to 2024 used."""

import pathlib

from im_jax.evaluation.harness.local.files import Row, Splits, json_rows, parsed

FILES = ("truthfulqa/v1/mc_task.json",)


def load(folder: pathlib.Path, task: str) -> Splits:
    """Columns question, mc1_targets and mc2_targets {choices, labels}."""
    del task
    return {"validation": parsed(json_rows(folder, FILES[0]), _row, folder / FILES[0])}


def _row(record: Row) -> Row:
    targets = {name: dict(record[name]) for name in ("mc1_targets", "mc2_targets")}
    if any(set(each.values()) - {0, 1} or 1 not in each.values() for each in targets.values()):
        raise ValueError("labels are not 0 and 1, or no choice is right")
    return {"question": record["question"]} | {
        name: {"choices": list(each), "labels": list(each.values())} for name, each in targets.items()
    }
