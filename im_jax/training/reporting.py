"""What a user sees of a run while it goes on: progress and log lines."""

import contextlib
import math
import time
from typing import Any

import jax
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from im_jax.console import Console, Words
from im_jax.errors import TrainingError
from im_jax.evaluation.measures import class_metrics
from im_jax.training.metrics import MetricsWriter, Row
from im_jax.training.step import StepMetrics


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
        flops_per_token: int,
        peak_flops: float,
    ) -> None:
        """`flops_per_token` are those of the model in a training step, `peak_flops` those that all devices
        can do in a second."""
        self._console, self._writer = console, writer
        self._last_step, self._log_every = last_step, log_every
        self._progress = Progress(
            Words("training"),
            BarColumn(),
            MofNCompleteColumn(),
            Words(field="numbers"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._flops_per_token, self._peak_flops = flops_per_token, peak_flops
        self._task = self._progress.add_task("", total=last_step, completed=first_step, numbers="")
        self._step = first_step
        self._since_log: list[StepMetrics] = []
        self._pending: tuple[int, float, list[StepMetrics]] | None = None
        self._clock = time.perf_counter()

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, step: int, learning_rate: float, metrics: StepMetrics) -> None:
        """Take note of a step that was just dispatched; steps count from 1."""
        self.flush()
        self._step = step
        self._since_log.append(metrics)
        if step == 1 or step % self._log_every == 0 or step == self._last_step:
            self._pending = (step, learning_rate, self._since_log)
            self._since_log = []
        self._progress.update(self._task, completed=step)

    def flush(self) -> None:
        """Write the log step that waits, if there is one."""
        if self._pending is None:
            return
        (step, learning_rate, steps), self._pending = self._pending, None
        host = jax.device_get(steps)
        elapsed = self._restart_clock()
        tokens_per_second = sum(int(np.sum(m.by_class.targets)) for m in host) / elapsed
        row: Row = {
            "step": step,
            "split": "train",
            "loss": float(host[-1].loss),
            "learning_rate": learning_rate,
            "grad_norm": float(host[-1].grad_norm),
            "tokens_per_second": tokens_per_second,
            "model_flops_utilisation": tokens_per_second * self._flops_per_token / self._peak_flops,
            "step_time": elapsed / len(host),
        } | class_metrics(host[-1].by_class)
        self.write(row)
        _require_finite(step, row["loss"], row["grad_norm"])
        numbers = f"loss {row['loss']:.4f}  {row['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(self._task, numbers=numbers)
        if self._progress.disable:
            self._console.print(f"step {step}/{self._last_step}  {numbers}")

    def write(self, row: Row | None) -> None:
        """Write a row of metrics, if there is one."""
        if row is not None:
            self._writer.write(row)

    @contextlib.contextmanager
    def paused(self) -> Any:
        """Wait until the numbers of all steps are known and good; time spent inside is no step's time."""
        self.flush()
        if self._since_log:
            last = jax.device_get(self._since_log[-1])
            _require_finite(self._step, float(last.loss), float(last.grad_norm))
        began = time.perf_counter()
        yield
        self._clock += time.perf_counter() - began  # the steps before, not yet logged, keep their time

    def _restart_clock(self) -> float:
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        return elapsed


def _require_finite(step: int, loss: float, grad_norm: float) -> None:
    """Stop a run that has nothing left to train, before it is saved over a good checkpoint."""
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise TrainingError(
            f"step {step}: the loss is {loss} and the gradient norm {grad_norm}; checkpoints from before are "
            "good. Lower optimizer.learning_rate or set optimizer.clip_norm=1, and start again"
        )
