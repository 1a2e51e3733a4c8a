"""The ids of what was read: WORKDIR/examples/PROCESS.jsonl, where each process writes what it built rows of.

    {"step": 7, "epoch": 1, "ids": ["train.jsonl:90", "train.jsonl:7"]}

A step in which an epoch ends has two lines. Lines of steps that a resumed run takes again go out first.
"""

import contextlib
import json
from collections.abc import Callable, Iterator

import jax
import jaxtyping as jt
import numpy as np

from im_jax import mesh as meshes
from im_jax.appended import Continued
from im_jax.errors import ConfigError
from im_jax.files import writing
from im_jax.stores.places import Place
from im_jax.text import in_one_line
from im_jax.training.run import Run


class ExamplesLog:
    """Writes ids of the rows of each step, of those rows that no process before this one holds too."""

    def __init__(self, run: Run, file: Continued | None) -> None:
        """Without a file, it does nothing."""
        self._file, self._rows, self._size = file, run.data.train_rows, run.config.train.batch_size
        self._first = meshes.local_rows(run.mesh, self._size).start
        self._is_mine = meshes.first_holds(run.mesh, self._size)

    def write(self, step: int, numbers: jt.Int[np.ndarray, " B"]) -> None:
        """Add the ids of a step.

        Args:
            step: counted from 1.
            numbers: of the rows that this process has built, in the order of its part of the batch.

        Raises:
            StorageError: it cannot be written.
        """
        if self._file is None:
            return
        places = (step - 1) * self._size + self._first + np.arange(len(numbers))
        epochs = places // len(self._rows) + 1
        for epoch in np.unique(epochs[self._is_mine]).tolist():
            mine = numbers[self._is_mine & (epochs == epoch)]
            ids = [name for number in mine.tolist() for name in self._rows.ids(number)]
            self._file.add(json.dumps({"step": step, "epoch": epoch, "ids": ids}))

    def sync(self) -> None:
        """Before a checkpoint, which must not outlive lines of its steps. Raises StorageError."""
        if self._file is not None:
            self._file.sync()


@contextlib.contextmanager
def examples_log(
    run: Run, workdir: Place, first_step: int, say: Callable[[str], None]
) -> Iterator[ExamplesLog]:
    """What writes ids for an attempt that begins behind a step, if they are wanted.

    What is there of later steps goes, also of processes that the run had and has no more, and also where
    nothing more is written: it would be of no step of this run. `say` is told of lines that are damaged.

    Raises:
        ConfigError: another process writes the same file.
        StorageError: it cannot be written.
    """
    folder, process = workdir / "examples", jax.process_index()
    own, wanted = folder / f"{process}.jsonl", run.config.log.examples
    if wanted:
        with writing(folder):
            folder.mkdir(exist_ok=True)
    # On the first process also what is written by none any more.
    for path in folder.glob("*.jsonl") if process == 0 else []:
        if path.stem.isdecimal() and int(path.stem) >= jax.process_count():
            _continued(path, first_step, say).close()
    file = _continued(own, first_step, say) if wanted or own.exists() else None
    with file or contextlib.nullcontext():
        yield ExamplesLog(run, file if wanted else None)


def _continued(path: Place, first_step: int, say: Callable[[str], None]) -> Continued:
    def keeps(line: bytes) -> bool:
        step = _step(line)
        if step is None:
            shown = in_one_line(line.decode(errors="replace"))[:80]
            say(f"{path}: a line has no ids, and is taken out with those behind it: {shown}")
        return step is not None and step <= first_step

    try:
        return Continued(path, keeps)
    except BlockingIOError as error:
        raise ConfigError(
            f"another process writes {path}; wait for it, or choose another --workdir"
        ) from error


def _step(line: bytes) -> int | None:
    """The step of a line; None of what is no line of such a file."""
    with contextlib.suppress(ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return int(json.loads(line)["step"])
    return None
