"""Benchmark tasks as one of the evaluations of a run: scores in `metrics.jsonl` and a table at its end."""

from collections.abc import Iterable

from rich.table import Table

from im_jax.config import Config
from im_jax.evaluation.harness.asking import answers_of
from im_jax.evaluation.harness.loading import Wanted, check_room, ready
from im_jax.evaluation.harness.running import run
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.evaluation.results import Kind, Score
from im_jax.models.loaded import Model
from im_jax.stores import readable


class TaskScores(Evaluation):
    """`TASK/METRIC` and `TASK/METRIC_stderr` of each score that was asked for."""

    name = "tasks"

    def __init__(self, config: Config) -> None:
        """Args: a configuration with `eval.tasks`."""
        self.every, self._max_positions = config.eval.tasks_every, config.model.max_positions
        self._wanted = Wanted(
            tasks=tuple(name.strip() for name in config.eval.tasks.split(",") if name.strip()),
            local_data=readable(config.eval.local_data) if config.eval.local_data else None,
            limit=config.eval.tasks_limit,
        )

    def check(self) -> None:
        """Find all tasks and their data."""
        with ready(self._wanted) as loaded:
            check_room(loaded, self._max_positions)

    def __call__(self, model: Model, step: int) -> Entry | None:
        """None on all processes but the first, which writes."""
        del step
        with ready(self._wanted) as loaded:
            found = run(model, loaded, answers_of(model))
        if found is None:
            return None
        return entry_of(found.scores)

    def table(self, entry: Entry) -> Table:
        """A line a score."""
        table = Table("task/metric", "score", "standard error", title="Benchmark tasks")
        for name, value in entry.items():
            if f"{name}_stderr" in entry:
                error = entry[f"{name}_stderr"]
                table.add_row(name, f"{value:.4f}", "" if error is None else f"{error:.4f}")
        return table


def entry_of(scores: Iterable[Score]) -> Entry:
    """`TASK/METRIC` and `TASK/METRIC_stderr` of all scores but those that are only parts of others."""
    entry: Entry = {}
    for score in scores:
        if score.kind is not Kind.PART:
            name = f"{score.name}/{score.metric.removesuffix(',none')}"
            entry[name], entry[f"{name}_stderr"] = score.value, score.stderr
    return entry
