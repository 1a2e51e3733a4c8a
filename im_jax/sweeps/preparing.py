"""What comes before the first run of a sweep, whoever runs it: results are found, leavings removed."""

import pathlib
from collections.abc import Sequence

from im_jax.config import Config
from im_jax.console import Console
from im_jax.data.files import located
from im_jax.errors import ConfigError, UserError
from im_jax.stores import in_store, readable
from im_jax.sweeps import running
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.definition import KeepCheckpoints, Sweep
from im_jax.sweeps.earlier import adopt
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import ResultsFile
from im_jax.text import counted


def put_in_order(
    sweep: Sweep, cells: Sequence[Cell], at_rest: Sequence[Cell], workdir: pathlib.Path, console: Console
) -> ResultsFile:
    """The results, with those of cells at rest that had finished before they were written down."""
    results = ResultsFile(workdir / "results.jsonl")
    adopt(cells, results, workdir)
    running.recover(at_rest, results, workdir, console.print, sweep.evaluations)
    if sweep.keep_checkpoints is KeepCheckpoints.NONE:
        running.clear_up(cells, results, workdir, sweep.evaluations)
    return results


def check_inputs(cells: Sequence[Cell]) -> None:
    """Stop before the first run where no run could begin: its model, tokenizer or data are not there.

    Where only some lack theirs, the others run, and what failed is told at the end.

    Raises:
        UserError: what is missing, and which field names it.
    """
    refusals = [_missing_input(cell.config) for cell in cells]
    if refusals and None not in refusals:
        raise next(refusal for refusal in refusals if refusal)


def _missing_input(config: Config) -> UserError | None:
    """What a run has not got that is named by a path of this machine."""
    for field, path in (("model.path", config.model.path), ("tokenizer.path", config.tokenizer.path)):
        if path not in ("", "bytes") and not in_store(path) and not readable(path).exists():
            return ConfigError(f"{field}={path}: there is no such file or folder; set --config.{field}=PATH")
    data = config.data
    if data.source == "jsonl" and data.path.strip(" ,") and not in_store(data.path):
        try:
            files = located(data.path, "data.path", (data.split,))
        except UserError as error:
            return error
        for path in (file.path for file in files if not readable(file.path).exists()):
            return ConfigError(f"data.path: there is no file {path!r}; correct --config.data.path")
    return None


def progress_of(sweep: Sweep, cells: Sequence[Cell], left: int, at_a_time: int, console: Console) -> Progress:
    """What is shown while runs go on; how many are left, and what becomes of them, is said at once."""
    console.print(f"{counted(len(cells), 'run')}, {len(cells) - left} of them finished before")
    if left and sweep.keep_checkpoints is KeepCheckpoints.NONE:
        console.print("checkpoints of a run are deleted once it has finished (keep_checkpoints)")
    others = [measure for measure in sweep.every_measure() if measure not in sweep.measures]
    skipped = len(cells) - left
    return Progress(console, len(cells), skipped, sweep.measures, others, at_a_time, sweep.evaluations)
