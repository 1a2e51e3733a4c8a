"""A run from its beginning: what can be refused is, before anything that takes long."""

import contextlib
import datetime
import json
import os
import pathlib

import jax

from im_jax import activity, validation
from im_jax import mesh as meshes
from im_jax.cluster import peers
from im_jax.cluster.joining import join_cluster
from im_jax.cluster.preemption import Preemption
from im_jax.cluster.watchdog import Watchdog
from im_jax.config import Config, LossConfig, flatten, with_overrides
from im_jax.console import Console
from im_jax.data.templates import writes_date
from im_jax.errors import ConfigError
from im_jax.evaluation.protocol import Entry
from im_jax.events import Happened
from im_jax.files import alone
from im_jax.interruption import UNINTERRUPTED, Interruption
from im_jax.losses.policy import LossPolicy
from im_jax.recorder import UNRECORDED, Recorder
from im_jax.stores.places import absolute, is_remote, place
from im_jax.training.compiled import keep_compiled
from im_jax.training.loop import train_run
from im_jax.training.memory import as_bytes, bytes_on_a_device
from im_jax.training.overview import overview, trained_share
from im_jax.training.partition import everything
from im_jax.training.resume import check_same_run
from im_jax.training.run import Resolved, Run, prepare_run, resolve
from im_jax.training.saved import newest_config


def train(
    config: Config,
    workdir: str | os.PathLike[str],
    console: Console | None = None,
    interruption: Interruption = UNINTERRUPTED,
    events: Recorder | None = None,
    preemption: Preemption | None = None,
) -> Entry:
    """Run training to its end, from the latest checkpoint in `workdir` if there is one.

    Args:
        config: what to run; it is not changed.
        workdir: where everything is written.
        console: where progress is shown; a quiet one on all processes but the first. None: standard output.
        interruption: asked after each step, and in evaluations, whether to save and stop.
        events: what has been noted since the program began; None: it begins now.
        preemption: asked the same of the cluster; None: that of this process, if it has one.

    Returns:
        The summary, as written to WORKDIR/summary.json.

    Raises:
        UserError: something that was given cannot work, or another process trains in `workdir`.
        Interrupted: the run was asked to stop, and has saved.
    """
    workdir, console, events = place(workdir), console or Console(), events or Recorder()
    validation.check(config)
    check_workdir(workdir)
    saved = newest_config(workdir / "checkpoints")
    resolved = resolve(_with_date(config, workdir), rows_before=saved.get("model.vocab_size"))
    with alone(workdir) if jax.process_index() == 0 else contextlib.nullcontext():
        if saved:  # at once: reading the data may take long
            check_same_run(saved, resolved.config, workdir, Console(quiet=True))
        with events.attempt(workdir, jax.process_index(), meshes.agreed):
            run = _prepared(resolved, console, events)
            if (others := peers.current()) is not None:
                known = {"data fingerprint": run.fingerprint, "last step": run.last_step, "base": run.base}
                others.require_same("what they have read", known | flatten(run.config))
            with Watchdog(config.mesh.stuck_after, events.left):
                return train_run(run, workdir, console, interruption, events, preemption)


def show_overview(config: Config, console: Console) -> None:
    """Say what a run would be, and write nothing."""
    for table in overview(_prepared(resolve(config), console)):
        console.print(table)


def run_here(config: Config, workdir: str | None, name: str, events: Recorder, *, dry_run: bool) -> None:
    """What `python -m im_jax.train` does on each process of a cluster, once it has read its flags.

    Args:
        config: a checked configuration.
        workdir: where to write; None: a new directory in runs/.
        name: what a new directory is called after.
        events: what happens is noted there.
        dry_run: say what the run would be, and stop.
    """
    console = Console()
    with Interruption(lambda text: console.print(text)) as interruption:
        interruption.last_words = events.left
        join_cluster(config, **{"--workdir": workdir or "", "--dry_run": dry_run})
        preemption = _joined(interruption, events)
        events.add(Happened.JOINED, processes=jax.process_count(), devices=jax.device_count())
        console.quiet = jax.process_index() != 0
        if dry_run:
            return show_overview(config, console)
        directory = place(workdir or new_workdir(name))
        keep_compiled(absolute(directory), config.checkpoint)
        train(config, directory, console, interruption, events, preemption)
    console.print(f"everything was written to {absolute(directory)}")


def _joined(interruption: Interruption, events: Recorder) -> Preemption:
    """Hear of the end of the cluster, if this process has joined one, and tell the others of its own."""
    others = peers.current()
    preemption = Preemption(others, events.left)
    if not jax.distributed.is_initialized():
        return preemption

    def last_words(code: int, why: str) -> None:
        events.left(code, why)
        if others is not None:
            others.goodbye(code, why)

    if others is not None:
        others.last_words = events.left
    interruption.last_words = last_words
    interruption.joined_cluster(may_save=jax.process_count() == 1)
    preemption.watch()
    return preemption


def check_workdir(workdir: pathlib.Path) -> None:
    """Stop if a run could not write there. Makes nothing yet: a mistake should leave no directory behind."""
    if is_remote(workdir):
        return  # taking hold of it tells
    existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"--workdir={workdir}: {existing} is a file; choose another directory")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"--workdir={workdir}: {existing} cannot be written; choose another directory")


def new_workdir(name: str) -> pathlib.Path:
    """A new directory for this run; several processes could not agree on one."""
    if jax.process_count() > 1:
        raise ConfigError("several processes need one place to write to: set --workdir=DIR")
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs") / f"{name}-{now}"


def _with_date(config: Config, workdir: pathlib.Path) -> Config:
    """The configuration with one date for the whole run, if its template writes any."""
    if config.data.date or not writes_date(config.data.template):
        return config
    date = datetime.date.today().isoformat()
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # as the run before had it
        saved = json.loads((workdir / "config.json").read_text("utf-8"))
        date = str(saved["data"].get("date", ""))  # versions that knew no date wrote the day's
    return with_overrides(config, {"data.date": date})


def _loss_text(policy: LossPolicy, loss: LossConfig) -> str:
    """What is trained, in a line."""
    parts = [f"policy {policy.name}", f"reduction {policy.reduction}"]
    if policy.changes:
        parts.append(f"schedule {loss.schedule}")
    if loss.neftune_alpha:
        parts.append(f"noise {loss.neftune_alpha:g}")
    if loss.kl.weight:
        kind = loss.kl.direction if loss.kl.estimator == "exact" else loss.kl.estimator
        parts.append(f"divergence {loss.kl.weight:g} ({kind})")
    return ", ".join(parts)


def _prepared(resolved: Resolved, console: Console, events: Recorder = UNRECORDED) -> Run:
    """The run of a configuration, with what is known of it shown on the way."""
    console.print(_loss_text(resolved.policy, resolved.config.loss))
    run = prepare_run(resolved, lambda text: console.print(text), activity.on_console(console), events)
    state = as_bytes(bytes_on_a_device(run.abstract_state().opt_state))
    if run.is_trained is not everything:
        console.print(f"trained: {trained_share(run)}")
    console.print(f"optimiser {run.config.optimizer.name}: {state} of state on a device")
    return run
