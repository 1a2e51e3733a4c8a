"""What to tell a user whose run gave numbers that are no longer numbers: of what, and how to go on."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Final

from im_jax.data.pipeline import rows_of_step
from im_jax.errors import TrainingError
from im_jax.training.health import NotFiniteError
from im_jax.training.kept_batch import keep_batch
from im_jax.training.run import Run

_EXAMPLES: Final = 8
"""Names of examples in a message."""


@contextlib.contextmanager
def advice(run: Run, workdir: pathlib.Path) -> Iterator[None]:
    """Add to a `NotFiniteError` which examples its step had, where they are, and how to go on from where.

    Raises:
        TrainingError: in its place.
    """
    try:
        yield
    except NotFiniteError as error:
        raise TrainingError(
            error.message,
            _batch(run, error.step),
            keep_batch(run, error.step, workdir),
            *_way_on(run, error.step, workdir / "checkpoints"),
        ) from error


def _batch(run: Run, step: int) -> str:
    config, rows = run.config, run.data.train_rows
    numbers = rows_of_step(rows, seed=config.seed, batch_size=config.train.batch_size, step=step)
    ids = [name for number in numbers.tolist() for name in rows.ids(number)]
    more = f" and {len(ids) - _EXAMPLES:,} more" if len(ids) > _EXAMPLES else ""
    return f"step {step} was computed from the examples {', '.join(ids[:_EXAMPLES])}{more}"


def _way_on(run: Run, step: int, checkpoints: pathlib.Path) -> Iterator[str]:
    optimizer, train = run.config.optimizer, run.config.train
    change = f"a lower --config.optimizer.learning_rate (it is {optimizer.learning_rate:g})"
    if not optimizer.clip_norm:
        change += ", or --config.optimizer.clip_norm=1"
    saved = sorted(int(path.name) for path in checkpoints.glob("*") if path.name.isdecimal())
    allowed = f"with --config.checkpoint.allow_changed=optimizer and {change}"
    if not saved:
        yield f"nothing was saved before: start again with {change}"
    elif saved[-1] != step - 1:
        yield f"checkpoint {saved[-1]} is good: the same command goes on from it, {allowed}"
    else:  # Its numbers are finite, but they are what this loss was computed with.
        where = checkpoints / str(saved[-1])
        yield f"{where} led to it: delete it to go on from the one before, {allowed}"
    if train.not_finite == "stop":
        yield "if it is the examples, --config.train.not_finite=skip leaves out such a step, and goes on"
