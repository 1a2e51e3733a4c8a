"""An evaluation: something that is measured of a model at certain steps of a run.

A new one is a class of this kind, put into the list that `im_jax.training.run` assembles, or brought by a
study (`im_jax.studies.registry`). The training loop knows none of them by name.
"""

import abc
from collections.abc import Callable
from typing import Any

from rich.table import Table

from im_jax.models.loaded import Model

Entry = dict[str, Any]
"""One line of metrics.jsonl: `step`, `split`, then names and numbers."""


class StoppedEarlyError(Exception):
    """An evaluation was stopped, since the run is to save and stop; it is done again when that goes on."""


class Evaluation(abc.ABC):
    """Measures a model. Always due at the end of a run."""

    pause: Callable[[], object] = staticmethod(lambda: None)
    """To be called now and then, at the same places on all processes: what it raises ends the evaluation."""

    name: str
    """The `split` of its entries, and its key in summary.json."""
    every: int = 0
    """Also due at every multiple of this step; 0: at the end only."""

    def check(self) -> None:
        """Stop before training at what could not be measured after it.

        Raises:
            UserError: with what to set instead.
        """
        return None

    def due(self, step: int) -> bool:
        """Whether a run that does not end at this step is to be measured there."""
        return bool(self.every) and step % self.every == 0

    @abc.abstractmethod
    def __call__(self, model: Model, step: int) -> Entry | None:
        """Numbers by name; None where there is nothing to measure on.

        Called on all processes, under `jax.set_mesh(model.mesh)`.
        """

    def table(self, entry: Entry) -> Table | None:
        """What a user is shown of the last entry at the end of a run, if anything."""
        del entry
        return None
