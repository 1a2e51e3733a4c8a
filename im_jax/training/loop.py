"""The training loop."""

import pathlib

import jax

from im_jax.appended import making_room
from im_jax.cluster.preemption import Preemption
from im_jax.config import flatten
from im_jax.console import Console
from im_jax.evaluation.protocol import Entry
from im_jax.events import Happened
from im_jax.interruption import UNINTERRUPTED, Interruption
from im_jax.recorder import UNRECORDED, Recorder
from im_jax.training.advice import advice
from im_jax.training.beginning import begin
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.examples_log import examples_log
from im_jax.training.health import require_finite_state
from im_jax.training.kept_batch import keep_batch
from im_jax.training.measuring import Measuring
from im_jax.training.metrics import MetricsWriter
from im_jax.training.reporting import reporter_of
from im_jax.training.run import Run
from im_jax.training.skipping import Skipping
from im_jax.training.stopping import Stopping
from im_jax.training.summary import write_summary


def train_run(
    run: Run,
    workdir: pathlib.Path,
    console: Console,
    interruption: Interruption = UNINTERRUPTED,
    events: Recorder = UNRECORDED,
    preemption: Preemption | None = None,
) -> Entry:
    """Train to the end, from the latest checkpoint in `workdir` if there is one.

    Args:
        run: what is trained, on what, and how.
        workdir: where everything is written.
        console: where progress is shown; a quiet one on all processes but the first.
        interruption: asked after each step, and in evaluations, whether to save and stop.
        events: is told what is done when.
        preemption: asked the same of the cluster; None: that of this process, if it has one.

    Returns:
        The summary, as written to WORKDIR/summary.json.

    Raises:
        Interrupted: it was asked to stop, or is preempted, and has saved.
        StorageError: something could not be written; the message says what is safe.
        TrainingError: the loss, its gradient or the parameters are no longer numbers.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    config, stopping = run.config, Stopping(interruption, preemption or Preemption())
    with (
        jax.set_mesh(run.mesh),
        advice(run, workdir),
        Checkpoints(workdir / "checkpoints", config.checkpoint, console.print) as saved,
        making_room(saved.make_room),
    ):
        first_step, state, batches, before = begin(run, saved, workdir, console, events)
        skipping = Skipping(config.train, console.print, lambda step: keep_batch(run, step, workdir), before)
        with (
            MetricsWriter(workdir, config, from_step=first_step, say=console.print) as writer,
            reporter_of(run, console, writer, first_step, skipping, events) as reporter,
            examples_log(run, workdir, first_step, console.print) as examples,
        ):
            measuring = Measuring(run, reporter, events, stopping)
            measuring.left(before.get("unmeasured", ()), state, first_step)
            reporter.compiling()
            for step in range(first_step + 1, run.last_step + 1):
                rows, told = next(batches), run.told(step)
                state, metrics = run.train_step(state, run.frozen, run.put(rows.batch), told)
                examples.write(step, rows.numbers)
                reporter.step(step, metrics, told.class_weights)
                stopping.first_step()
                saved.check()
                # Measured before it is saved: a resumed run has the numbers of all steps that it skips.
                unmeasured = measuring.due(state, step) if step < run.last_step else []
                # The iterator stands just behind this step's batch, so the saved position fits the state.
                asked = stopping.asked()  # once: it may become true at any time
                if saved.due(step) or step == run.last_step or asked:
                    with reporter.paused(), events.during(Happened.SAVE, step):
                        require_finite_state(step, state)
                        examples.sync()
                        data = {"position": batches.get_state(), "fingerprint": run.fingerprint}
                        data |= {"base": run.base, "unmeasured": unmeasured, **skipping.as_dict()}
                        writer.flush()
                        saved.save(step, state, data, flatten(config))
                if asked:
                    events.add(Happened.SAVE, step, phase="begin")  # up to the end
                    saved.wait()
                    raise stopping.end(f"step {step} is saved; the same command goes on from there")
            reporter.flush()
            with events.during(Happened.SAVE, run.last_step):
                saved.wait()
            stopping.saved()
            entries, _ = measuring.measure(run.evaluations, state, run.last_step)
            events.add(Happened.SAVE, run.last_step, phase="begin")  # what is left to write

    for evaluation in run.evaluations:
        entry = entries[evaluation.name]
        if entry is not None and (table := evaluation.table(entry)) is not None:
            console.print(table)
    return write_summary(run, entries, first_step, workdir)
