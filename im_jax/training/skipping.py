"""Steps whose loss or gradient is not finite: the run stops, or leaves out their updates and goes on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from im_jax.config import TrainConfig
from im_jax.training.health import NotFiniteError, not_finite_numbers
from im_jax.training.step import StepMetrics

_KEPT: Final = 10
"""Skipped steps of a run whose rows are kept: a bad data set would fill the disk."""


class Skipping:
    """Counts what was skipped, from the numbers of each step in turn, once they are known.

    The count is the run's and not the attempt's: save `as_dict` with a checkpoint.
    """

    def __init__(
        self,
        config: TrainConfig,
        say: Callable[[str], None] = lambda text: None,
        keep: Callable[[int], str] = lambda step: "",
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """Args: what is to be done, where a line is shown, what keeps the rows of a step and says where, and
        `as_dict` of the checkpoint that the run goes on from."""
        counted = before or {}
        self._skips, self._most = config.not_finite == "skip", config.max_skipped
        self._say, self._keep = say, keep
        self.total = int(counted.get("skipped", 0))
        """Steps of the run whose update was left out."""
        self._in_a_row = int(counted.get("skipped_in_a_row", 0))
        self._last = 0
        self._before_last = self.total
        self._error: NotFiniteError | None = None

    def as_dict(self) -> dict[str, int]:
        """For a checkpoint; empty if nothing was skipped."""
        return {"skipped": self.total, "skipped_in_a_row": self._in_a_row} if self.total else {}

    @property
    def is_counted(self) -> bool:
        """Whether a reader of the numbers should see the count."""
        return self._skips or self.total > 0

    def updates_before(self, step: int) -> int:
        """How many updates came before that of the last step that was looked at: what schedules go by."""
        return step - 1 - self._before_last

    def look_at(self, steps: Sequence[tuple[int, StepMetrics]]) -> None:
        """Take note of steps, with their numbers on the host; passes over those that are known already."""
        for number, metrics in steps:
            if number <= self._last:
                continue
            self._last, self._before_last = number, self.total
            told = not_finite_numbers(float(metrics.loss), float(metrics.grad_norm))
            if not told:
                self._in_a_row = 0
            elif not self._skips:
                self._error = self._error or NotFiniteError(number, f"step {number}: {told}")
            else:
                self._skip(number, told)

    def check(self) -> None:
        """Stop a run that has nothing left to train.

        Raises:
            NotFiniteError: of a step that was looked at, and is not to be skipped.
        """
        if self._error is not None:
            raise self._error

    def _skip(self, number: int, told: str) -> None:
        self.total += 1
        self._in_a_row += 1
        if self._in_a_row > self._most:
            self._error = self._error or NotFiniteError(
                number,
                f"step {number}: {told}; {self._in_a_row - 1} steps before it in a row were skipped, and "
                f"train.max_skipped is {self._most}",
            )
            return
        where = (
            self._keep(number)
            if self.total <= _KEPT
            else f"its rows are not kept: those of {_KEPT} others are"
        )
        self._say(f"step {number} is skipped: {told}; {where}")
