"""The training loop."""

import json
import pathlib
import time
from collections.abc import Sequence

import jax

from im_jax.config import flatten
from im_jax.console import Console
from im_jax.errors import CheckpointError, Interrupted
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.files import write_whole
from im_jax.interruption import PREEMPTED, UNINTERRUPTED, Interruption
from im_jax.mesh import preempted
from im_jax.models import decoder
from im_jax.training.advice import advice
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.health import require_finite_state
from im_jax.training.memory import bytes_on_a_device, used_on_a_device
from im_jax.training.metrics import MetricsWriter, finite_or_none
from im_jax.training.reporting import Reporter
from im_jax.training.resume import check_nothing_lost, check_resumable, check_same_base
from im_jax.training.run import Run
from im_jax.training.saved import DamagedCheckpoint
from im_jax.training.state import TrainState
from im_jax.training.utilisation import peak_flops


def train_run(
    run: Run, workdir: pathlib.Path, console: Console, interruption: Interruption = UNINTERRUPTED
) -> Entry:
    """Train to the end, from the latest checkpoint in `workdir` if there is one.

    Args:
        run: what is trained, on what, and how.
        workdir: where everything is written.
        console: where progress is shown; a quiet one on all processes but the first.
        interruption: asked after each step whether to save and stop.

    Returns:
        The summary, as written to WORKDIR/summary.json.

    Raises:
        Interrupted: it was asked to stop, or is preempted, and has saved.
        StorageError: something could not be written; the message says what is safe.
        TrainingError: the loss, its gradient or the parameters are no longer numbers.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    config, batches, checkpoints = run.config, run.batches(), workdir / "checkpoints"
    with (
        jax.set_mesh(run.mesh),
        advice(run, checkpoints),
        Checkpoints(checkpoints, config.checkpoint) as saved,
    ):
        restored = _restored(run, saved, workdir, console)
        if restored is None:
            check_nothing_lost(workdir, config, console)
            first_step, state = 0, run.first_state()
        else:
            first_step, state = int(restored.step), restored
            batches.set_state(saved.saved_data()["position"])
        with (
            MetricsWriter(workdir, config, from_step=first_step, say=console.print) as writer,
            _reporter(run, console, writer, first_step) as reporter,
        ):
            for step in range(first_step + 1, run.last_step + 1):
                batch = run.put(next(batches))
                told = run.told(step)
                state, metrics = run.train_step(state, run.frozen, batch, told)
                reporter.step(step, run.learning_rates[step - 1], metrics, told.class_weights)
                interruption.ask_first()
                saved.check()
                # Measured before it is saved: a resumed run has the numbers of all steps that it skips.
                if step < run.last_step:
                    due = [evaluation for evaluation in run.evaluations if evaluation.due(step)]
                    _evaluate(due, run, state, step, reporter)
                # The iterator stands just behind this step's batch, so the saved position fits the state.
                asked, notice = interruption.asked, preempted(step)  # once: they may become true at any time
                if saved.due(step) or step == run.last_step or asked or notice:
                    with reporter.paused():
                        require_finite_state(step, state)
                        position = {"position": batches.get_state(), "fingerprint": run.fingerprint}
                        saved.save(step, state, position | {"base": run.base}, flatten(config))
                if asked or notice:
                    saved.wait()
                    message = f"step {step} is saved; the same command goes on from there"
                    raise (
                        interruption.stop(message)
                        if asked
                        else Interrupted(f"preempted: {message}", PREEMPTED)
                    )
            reporter.flush()
            saved.wait()
            interruption.leave_at_once("training is over and saved; the same command measures what is left")
            entries = _evaluate(run.evaluations, run, state, run.last_step, reporter)

    for evaluation in run.evaluations:
        entry = entries[evaluation.name]
        if entry is not None and (table := evaluation.table(entry)) is not None:
            console.print(table)
    return _write_summary(run, entries, first_step, workdir)


def _restored(run: Run, saved: Checkpoints, workdir: pathlib.Path, console: Console) -> TrainState | None:
    """The newest state that is as it was written, those that are not set aside; None if nothing was saved.

    Raises:
        CheckpointError: every checkpoint is damaged.
        ConfigError: it is another run.
    """
    damaged = None
    while saved.latest_step is not None:
        try:
            check_resumable(saved, run.config, run.data, run.last_step, workdir, console)
            check_same_base(saved.saved_data(), run.base, run.config.model.path)
            state = run.restored_state(saved)
            console.print(f"resuming from step {saved.latest_step} in {workdir}")
            return state
        except DamagedCheckpoint as error:
            damaged, aside = error, saved.set_aside(error)
            console.print(f"checkpoint {error.step} is damaged: {error.reason}; it was moved to {aside}")
    if damaged:
        raise CheckpointError(
            f"every checkpoint of the run in {workdir} is damaged, the oldest by this: {damaged.reason}; "
            "choose another --workdir for a new run"
        )
    return None


def _evaluate(
    evaluations: Sequence[Evaluation], run: Run, state: TrainState, step: int, reporter: Reporter
) -> dict[str, Entry | None]:
    """The entries of some evaluations by name, written as they come."""
    entries: dict[str, Entry | None] = {}
    for evaluation in evaluations:
        with reporter.paused():
            measured = evaluation(run.model(state), step)
            entry = None if measured is None else {"step": step, "split": evaluation.name} | measured
            reporter.write(entry)
            entries[evaluation.name] = entry
    return entries


def _reporter(run: Run, console: Console, writer: MetricsWriter, first_step: int) -> Reporter:
    estimator = run.config.loss.kl.estimator
    return Reporter(
        console,
        writer,
        first_step,
        run.last_step,
        run.config.log.every,
        flops_per_token=decoder.flops_per_token(run.config.model, run.config.data.max_length, run.is_trained),
        peak_flops=peak_flops(run.config.model.compute_dtype),
        vocab_size=run.tokenizer.vocab_size,
        changing=run.policy.changing(),
        kl_name="kl" if estimator == "exact" else f"kl_{estimator}",
    )


def _write_summary(
    run: Run, entries: dict[str, Entry | None], first_step: int, workdir: pathlib.Path
) -> Entry:
    """Write WORKDIR/summary.json, on the first process."""
    summary = {
        "step": run.last_step,
        "resumed_from": first_step,
        "policy": run.policy.name,
        "reduction": run.policy.reduction,
        "parameters": decoder.num_params(run.config.model),
        "devices": jax.device_count(),
        "seconds": round(time.perf_counter() - run.began, 1),
        "fingerprint": run.fingerprint,
        "memory": _memory(run),
        "data": run.data.as_dict(),
    } | {name: finite_or_none(entry) for name, entry in entries.items()}
    if jax.process_index() == 0:
        write_whole(workdir / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def _memory(run: Run) -> dict[str, int | None]:
    """Of a device: the state as it is planned by shapes, and what was in use."""
    planned = bytes_on_a_device(run.abstract_state())
    return {"state_bytes": planned, **used_on_a_device(jax.local_devices()[0])}
