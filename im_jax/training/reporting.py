"""What a user sees of a run while it goes on: progress and log lines."""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import jax
import jaxtyping as jt
import numpy as np
from rich.progress import Progress, TimeRemainingColumn
from rich.table import Column

from im_jax.activity import on_console
from im_jax.cluster.watchdog import tick
from im_jax.console import Console, Words, bar_column, count_column
from im_jax.evaluation.measures import class_metrics
from im_jax.evaluation.protocol import Entry
from im_jax.events import Happened
from im_jax.models import counts
from im_jax.recorder import UNRECORDED, Recorder
from im_jax.token_classes import TokenClass
from im_jax.training.health import far_from_guessing
from im_jax.training.metrics import MetricsWriter
from im_jax.training.run import Run
from im_jax.training.skipping import Skipping
from im_jax.training.step import StepMetrics
from im_jax.training.utilisation import peak_flops

_COMPILING: Final = "compiling the step"
"""What the first one waits for."""
_WIDE: Final = 60
"""Columns of a terminal with room for the time that is left beside the loss."""


class _Step(NamedTuple):
    """A step whose numbers are still on the devices."""

    number: int
    metrics: StepMetrics
    class_weights: jt.Float32[jt.Array, " C"] | None


class Reporter(contextlib.AbstractContextManager["Reporter"]):
    """Shows progress and writes metrics, without making the devices wait.

    `step` is called after each step is dispatched, and fetches the numbers of a log step only once the
    *next* step is under way, so the devices always have work queued.
    """

    def __init__(
        self,
        console: Console,
        writer: MetricsWriter,
        first_step: int,
        last_step: int,
        log_every: int,
        *,
        learning_rates: Sequence[float],
        skipping: Skipping,
        flops_per_token: int,
        peak_flops: float,
        vocab_size: int,
        changing: Sequence[TokenClass] = (),
        kl_name: str = "kl",
        events: Recorder = UNRECORDED,
    ) -> None:
        """`learning_rates` are those of the run's updates, in their order; `skipping` is told of each step;
        `flops_per_token` are those of the model in a training step, `peak_flops` those that all devices
        can do in a second; `vocab_size` tells what guessing would lose; weights of the classes in `changing`
        are written; `kl_name` is what the divergence from a base is called; `events` is told of steps
        that are done."""
        self._console, self._writer, self._events = console, writer, events
        self._last_step, self._log_every = last_step, log_every
        self._learning_rates, self._skipping = learning_rates, skipping
        self._progress = Progress(
            Words("training"),
            bar_column(console),
            count_column(),
            Words(field="numbers"),
            *([TimeRemainingColumn(table_column=Column(no_wrap=True))] if console.width >= _WIDE else []),
            console=console,
            disable=not console.is_terminal,
        )
        self._flops_per_token, self._peak_flops = flops_per_token, peak_flops
        self._vocab_size, self._changing, self._kl_name = vocab_size, changing, kl_name
        self._task = self._progress.add_task("", total=last_step, completed=first_step, numbers=_COMPILING)
        self._compiling = contextlib.ExitStack()
        self._first: _Step | None = None
        self._first_number = first_step + 1
        self._since_log: list[_Step] = []
        self._pending: list[_Step] = []
        self._clock = time.perf_counter()

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._compiling.close()
        self._progress.stop()

    def compiling(self) -> None:
        """Take note that the first step of the attempt, if there is any, comes next."""
        if self._first_number <= self._last_step:
            self._compiling.enter_context(self._events.during(Happened.COMPILE, self._first_number))
            if self._progress.disable:
                self._compiling.enter_context(on_console(self._console)(_COMPILING))

    def step(
        self,
        step: int,
        metrics: StepMetrics,
        class_weights: jt.Float32[jt.Array, " C"] | None = None,
    ) -> None:
        """Take note of a step that was just dispatched, with the weights it was told; steps count from 1."""
        self._compiling.close()
        self.flush()
        tick(f"step {step + 1}")
        self._since_log.append(_Step(step, metrics, class_weights))
        if step == self._first_number:
            self._first = self._since_log[-1]
        if step == 1 or step % self._log_every == 0 or step == self._last_step:
            self._pending, self._since_log = self._since_log, []
        self._progress.update(self._task, completed=step)

    def flush(self) -> None:
        """Write the log step that waits, if there is one."""
        if self._first is not None:
            jax.block_until_ready(self._first.metrics.loss)
            self._events.add(Happened.FIRST_STEP, self._first.number)
            self._first = None
        if not self._pending:
            return
        steps: list[_Step] = jax.device_get(self._pending)
        self._events.add(Happened.STEP, steps[-1].number)
        self._pending = []
        elapsed = self._restart_clock()
        tokens_per_second = sum(int(np.sum(step.metrics.by_class.targets)) for step in steps) / elapsed
        step, metrics, class_weights = steps[-1]
        self._look_at(steps)
        entry: Entry = {
            "step": step,
            "split": "train",
            "loss": float(metrics.loss),
            "learning_rate": self._learning_rates[self._skipping.updates_before(step)],
            "grad_norm": float(metrics.grad_norm),
            "tokens_per_second": tokens_per_second,
            "model_flops_utilisation": tokens_per_second * self._flops_per_token / self._peak_flops,
            "step_time": elapsed / len(steps),
        } | class_metrics(metrics.by_class)
        if self._skipping.is_counted:
            entry["skipped"] = self._skipping.total
        if metrics.kl is not None:
            entry[self._kl_name] = float(metrics.kl)
        if class_weights is not None:
            entry |= {f"weight/{c.label}": float(class_weights[c]) for c in self._changing}
        self.write(entry)
        self._skipping.check()
        if step == 1:
            self._compare_with_guessing(metrics)
        numbers = f"loss {entry['loss']:.4f}  {entry['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(self._task, numbers=numbers)
        if self._progress.disable:
            self._console.print(f"step {step}/{self._last_step}  {numbers}")

    def write(self, entry: Entry | None) -> None:
        """Write an entry of the metrics, if there is one."""
        if entry is not None:
            self._writer.write(entry)

    @contextlib.contextmanager
    def paused(self) -> Any:
        """Wait until the numbers of all steps are known and good; time spent inside is no step's time."""
        self.flush()
        self._look_at(jax.device_get(self._since_log))
        self._skipping.check()
        began = time.perf_counter()
        tick("an evaluation or a save")
        yield
        tick("a step")
        self._clock += time.perf_counter() - began  # the steps before, not yet logged, keep their time

    def _look_at(self, steps: Sequence[_Step]) -> None:
        self._skipping.look_at([(step.number, step.metrics) for step in steps])

    def _compare_with_guessing(self, metrics: StepMetrics) -> None:
        """Say it if the model is worse than one that knows nothing."""
        sums = metrics.by_class
        nll = float(np.sum(sums.nll) / max(np.sum(sums.measured), 1))
        if far_from_guessing(nll, self._vocab_size):
            self._console.print(
                f"warning: the first loss is {nll:.1f} nats a token, where guessing among "
                f"{self._vocab_size:,} tokens gives {math.log(self._vocab_size):.1f}: the tokenizer is "
                "probably not the model's, or the weights are damaged"
            )

    def _restart_clock(self) -> float:
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        return elapsed


def reporter_of(
    run: Run,
    console: Console,
    writer: MetricsWriter,
    first_step: int,
    skipping: Skipping,
    events: Recorder,
) -> Reporter:
    """The reporter of an attempt that begins behind a step."""
    estimator = run.config.loss.kl.estimator
    return Reporter(
        console,
        writer,
        first_step,
        run.last_step,
        run.config.log.every,
        learning_rates=run.learning_rates,
        skipping=skipping,
        flops_per_token=counts.flops_per_token(run.config.model, run.config.data.max_length, run.is_trained),
        peak_flops=peak_flops(run.config.model.compute_dtype),
        vocab_size=run.tokenizer.vocab_size,
        changing=run.policy.changing(),
        kl_name="kl" if estimator == "exact" else f"kl_{estimator}",
        events=events,
    )
