"""The rows of a step, kept to be looked at: WORKDIR/not_finite/step-N, where each process writes its own.

process-0.npz     the arrays of the batch, [rows, length], with `rows`, their numbers in the training set
process-0.jsonl   {"row": 812, "ids": ["train.jsonl:90", "train.jsonl:7"]}, in the order of the arrays
process-0.txt     the same to be read, piece by piece with class and weight
"""

import io
import json
import pathlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import jax
import jaxtyping as jt
import numpy as np
from rich.console import RenderableType

from im_jax import mesh as meshes
from im_jax.batch import Batch
from im_jax.console import Console
from im_jax.data.dataset import ExampleView
from im_jax.data.display import mask_example, to_terminal
from im_jax.data.pipeline import rows_of_step
from im_jax.errors import StorageError
from im_jax.files import write_whole, writing
from im_jax.training.run import Run

_COLUMNS: Final = 110


class LocalRows(NamedTuple):
    """What a process holds of the batch of a step."""

    numbers: jt.Int[np.ndarray, " B"]
    """Of the rows, in the training set."""
    ids: list[list[str]]
    """Of the examples in each row."""
    batch: Batch


def keep_batch(run: Run, step: int, workdir: pathlib.Path) -> str:
    """Write the rows of a step that this process holds.

    Returns:
        A sentence that says where they are and how to look at them, or why they could not be written.
    """
    folder = workdir / "not_finite" / f"step-{step}"
    name = f"process-{jax.process_index()}"
    # All of it before anything can fail: what a step is told is worked out by all processes together.
    rows = _local_rows(run, step)
    contents: dict[str, str | bytes] = {
        "npz": _arrays(rows),
        "jsonl": _ids(rows),
        "txt": _text(run, rows, np.asarray(jax.device_get(run.told(step).class_weights))),
    }
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for ending, content in contents.items():
            write_whole(folder / f"{name}.{ending}", content)
    except StorageError as error:
        return f"its rows could not be kept: {error}"
    which = "its rows are" if jax.process_count() == 1 else "its rows, by process, are"
    return f"{which} in {folder}: {name}.txt to be read, {name}.npz for numpy.load, ids in {name}.jsonl"


def _local_rows(run: Run, step: int) -> LocalRows:
    rows, size = run.data.train_rows, run.config.train.batch_size
    numbers = rows_of_step(rows, seed=run.config.seed, batch_size=size, step=step)
    local = meshes.local_rows(run.mesh, size)
    mine = numbers[local.start : local.stop]
    return LocalRows(mine, [rows.ids(number) for number in mine.tolist()], rows.batch(mine))


def _arrays(rows: LocalRows) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, rows=rows.numbers, **rows.batch._asdict())
    return file.getvalue()


def _ids(rows: LocalRows) -> str:
    numbered = zip(rows.numbers.tolist(), rows.ids, strict=True)
    return "".join(json.dumps({"row": number, "ids": ids}) + "\n" for number, ids in numbered)


def _text(run: Run, rows: LocalRows, weights: jt.Float32[np.ndarray, " C"]) -> str:
    file = io.StringIO()
    console = Console(file=file, width=_COLUMNS)
    for at, (number, ids) in enumerate(zip(rows.numbers.tolist(), rows.ids, strict=True)):
        console.print(f"row {number}")
        for shown in _examples(run, Batch(*(field[at] for field in rows.batch)), ids, weights):
            console.print(shown)
    return file.getvalue()


def _examples(
    run: Run, row: Batch, ids: list[str], weights: jt.Float32[np.ndarray, " C"]
) -> Iterator[RenderableType]:
    for segment, name in enumerate(ids, start=1):
        at = row.segments == segment
        view = ExampleView(name, row.tokens[at], row.classes[at], row.message_weights[at])
        yield to_terminal(mask_example(view, run.tokenizer, weights), run.tokenizer)
