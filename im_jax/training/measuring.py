"""Evaluations of a run: measured, written as they come, and left for later where the run is to stop."""

from collections.abc import Sequence

from im_jax.evaluation.protocol import Entry, Evaluation, StoppedEarlyError
from im_jax.events import Happened
from im_jax.recorder import Recorder
from im_jax.training.reporting import Reporter
from im_jax.training.run import Run
from im_jax.training.state import TrainState
from im_jax.training.stopping import Stopping


class Measuring:
    """Measures a run's model, with what it is reported to and asked by."""

    def __init__(self, run: Run, reporter: Reporter, events: Recorder, stopping: Stopping) -> None:
        self._run, self._reporter, self._events, self._stopping = run, reporter, events, stopping

    def due(self, state: TrainState, step: int) -> list[str]:
        """Measure what is due at a step that is not the last; returns what was left out, by name."""
        return self.measure([each for each in self._run.evaluations if each.due(step)], state, step)[1]

    def left(self, names: Sequence[str], state: TrainState, step: int) -> None:
        """Measure what an attempt before left out at a step."""
        self.measure([each for each in self._run.evaluations if each.name in names], state, step)

    def measure(
        self, evaluations: Sequence[Evaluation], state: TrainState, step: int
    ) -> tuple[dict[str, Entry | None], list[str]]:
        """Entries by name, and the names of what was left out because the run is to stop."""
        entries: dict[str, Entry | None] = {}
        for at, evaluation in enumerate(evaluations):
            try:
                entries[evaluation.name] = self._one(evaluation, state, step)
            except StoppedEarlyError:
                return entries, [each.name for each in evaluations[at:]]
        return entries, []

    def _one(self, evaluation: Evaluation, state: TrainState, step: int) -> Entry | None:
        evaluation.pause = self._stopping.pause
        with self._reporter.paused(), self._events.during(Happened.EVALUATION, step, name=evaluation.name):
            evaluation.pause()
            measured = evaluation(self._run.model(state), step)
            entry = None if measured is None else {"step": step, "split": evaluation.name} | measured
            self._reporter.write(entry)
            return entry
