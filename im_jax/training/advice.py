"""What to tell a user whose run gave numbers that are no longer numbers: of what, and how to go on."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Final

from im_jax.data.pipeline import rows_of_step
from im_jax.errors import TrainingError
from im_jax.training.health import NotFiniteError
from im_jax.training.run import Run

_EXAMPLES: Final = 8
"""Names of examples in a message."""


@contextlib.contextmanager
def advice(run: Run, checkpoints: pathlib.Path) -> Iterator[None]:
    """Add to a `NotFiniteError` which examples its step had, and from which checkpoint to go on, and how.

    Raises:
        TrainingError: in its place.
    """
    try:
        yield
    except NotFiniteError as error:
        raise TrainingError(
            error.message, _batch(run, error.step), _way_on(run, error.step, checkpoints)
        ) from error


def _batch(run: Run, step: int) -> str:
    config, rows = run.config, run.data.train_rows
    numbers = rows_of_step(rows, seed=config.seed, batch_size=config.train.batch_size, step=step)
    ids = [name for number in numbers.tolist() for name in rows.ids(number)]
    more = f" and {len(ids) - _EXAMPLES:,} more" if len(ids) > _EXAMPLES else ""
    return f"step {step} was computed from the examples {', '.join(ids[:_EXAMPLES])}{more}"


def _way_on(run: Run, step: int, checkpoints: pathlib.Path) -> str:
    optimizer = run.config.optimizer
    change = f"a lower --config.optimizer.learning_rate (it is {optimizer.learning_rate:g})"
    if not optimizer.clip_norm:
        change += ", or --config.optimizer.clip_norm=1"
    saved = sorted(int(path.name) for path in checkpoints.glob("*") if path.name.isdecimal())
    if not saved:
        return f"nothing was saved before: start again with {change}"
    change = f"with --config.checkpoint.allow_changed=optimizer and {change}"
    if saved[-1] != step - 1:
        return f"checkpoint {saved[-1]} is good: the same command goes on from it, {change}"
    # Its numbers are finite, but they are what this loss was computed with.
    return f"{checkpoints / str(saved[-1])} led to it: delete it to go on from the one before, {change}"
