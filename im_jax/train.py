"""Fine-tune a language model under a loss policy.

    python -m im_jax.train --config=configs/cpu_debug.py --workdir=DIR [--config.FIELD=VALUE ...]

Started again in the same workdir, a run resumes from its latest checkpoint. In WORKDIR: config.json,
metrics.jsonl, summary.json, checkpoints/, tensorboard/.
"""

import datetime
import json
import math
import os
import pathlib
import time

import jax
import numpy as np
import optax
from absl import flags
from jax.sharding import Mesh

from im_jax import command_line, validation
from im_jax import mesh as meshes
from im_jax.config import Config, flatten
from im_jax.console import Console
from im_jax.data.pipeline import train_iterator
from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy
from im_jax.models import decoder
from im_jax.models.checkpoints import load_pretrained, resolve_model
from im_jax.models.sharding import ShardingRules
from im_jax.studies import prepare
from im_jax.studies.rewrites import evaluation as rewrites
from im_jax.training import state as states
from im_jax.training.checkpoint import Checkpoints, with_shardings
from im_jax.training.evaluation import Evaluator
from im_jax.training.metrics import MetricsWriter, Row, finite_or_none
from im_jax.training.optimizer import make_optimizer, make_schedule, resolve_constants
from im_jax.training.reporting import Reporter, heldout_table
from im_jax.training.resume import check_resumable
from im_jax.training.state import TrainState
from im_jax.training.step import make_train_step
from im_jax.training.utilisation import peak_flops


def train(config: Config, workdir: pathlib.Path, console: Console) -> Row:
    """Run training to its end, from the latest checkpoint if there is one.

    Args:
        config: checked configuration; its open fields (vocabulary, steps, architecture) are filled in.
        workdir: where everything is written.
        console: where progress is shown; a quiet one on all processes but the first.

    Returns:
        The summary, as written to WORKDIR/summary.json.
    """
    began = time.perf_counter()
    policy, rules = make_policy(config.loss), ShardingRules()
    check_workdir(workdir)
    mesh = meshes.make_mesh(config.mesh)
    tokenizer = resolve(config, mesh, rules)
    data = prepare(config, tokenizer, policy.table())
    last_step = number_of_steps(config, len(data.train_rows))
    console.print(f"policy {policy.name}, reduction {policy.reduction}")
    console.print(data.summary())
    data.report.check(config.data, require_trained_stop=config.loss.require_trained_stop)
    if config.data.source == "rewrites":
        rewrites.check(config)
    workdir.mkdir(parents=True, exist_ok=True)
    fingerprint = data.fingerprint()

    schedule = make_schedule(config.optimizer, last_step)
    learning_rates = np.asarray(schedule(np.arange(last_step)))  # now: asking each step would wait for it
    optimizer = make_optimizer(config.optimizer, schedule)
    shardings = states.state_shardings(config.model, optimizer, mesh, rules)
    train_step = jax.jit(
        make_train_step(
            config.model, policy, config.loss, optimizer, accumulate=config.train.accumulate, rules=rules
        ),
        donate_argnums=0,
        out_shardings=(shardings, None),
    )
    evaluate = Evaluator(config, policy, data.heldout_rows, mesh, rules)
    batches = train_iterator(
        data.train_rows,
        seed=config.seed,
        batch_size=config.train.batch_size,
        local=meshes.local_rows(mesh, config.train.batch_size),
        workers=config.data.workers,
    )

    with jax.set_mesh(mesh), Checkpoints(workdir / "checkpoints", config.checkpoint) as saved:
        first_step = saved.latest_step or 0
        if saved.latest_step is None:
            state = first_state(config, optimizer, shardings)
        else:
            check_resumable(saved, config, fingerprint, last_step, workdir, console)
            abstract = states.abstract_state(config.model, optimizer)
            state = saved.restore(with_shardings(abstract, shardings))
            batches.set_state(saved.saved_data()["position"])
        with (
            MetricsWriter(workdir, config, from_step=first_step) as writer,
            Reporter(
                console,
                writer,
                first_step,
                last_step,
                config.log.every,
                flops_per_token=decoder.flops_per_token(config.model, config.data.max_length),
                peak_flops=peak_flops(config.model.compute_dtype),
            ) as reporter,
        ):
            for step in range(first_step + 1, last_step + 1):
                batch = meshes.put_batch(next(batches), mesh)
                state, metrics = train_step(state, batch)
                reporter.step(step, float(learning_rates[step - 1]), metrics)
                # Measured before it is saved: a resumed run has the numbers of all steps that it skips.
                if config.eval.every and step % config.eval.every == 0 and step < last_step:
                    with reporter.paused():
                        reporter.write(evaluate(state.params, step))
                # The iterator stands just behind this step's batch, so the saved position fits the state.
                if saved.due(step) or step == last_step:
                    with reporter.paused():
                        position = {"position": batches.get_state(), "fingerprint": fingerprint}
                        saved.save(step, state, position, flatten(config))
            reporter.flush()
            heldout = evaluate(state.params, last_step)
            reporter.write(heldout)
            answers: Row = {}
            if config.data.source == "rewrites":
                answers = rewrites.evaluate(state.params, config, tokenizer, data.template, mesh, rules)
                reporter.write({"step": last_step, "split": "rewrites"} | answers)

    if heldout is not None:
        console.print(heldout_table(heldout, policy))
    summary = {
        "step": last_step,
        "resumed_from": first_step,
        "policy": policy.name,
        "reduction": policy.reduction,
        "parameters": decoder.num_params(config.model),
        "devices": jax.device_count(),
        "seconds": round(time.perf_counter() - began, 1),
        "fingerprint": fingerprint,
        "data": data.report.as_dict(),
        "heldout": finite_or_none(heldout),
    }
    if answers:
        summary["rewrites"] = answers
    write_summary(workdir, summary)
    return summary


def resolve(config: Config, mesh: Mesh, rules: ShardingRules) -> Tokenizer:
    """Fill in what the checkpoint, the tokenizer and the preset decide, and stop at what cannot work.

    All of this is known before any data is read. Returns the tokenizer.
    """
    meshes.check_batch(config, mesh)
    config.model = resolve_model(config.model)
    validation.check_length(config)
    tokenizer = make_tokenizer(config.tokenizer.path)
    validation.resolve_vocabulary(config, tokenizer.vocab_size)
    config.optimizer = resolve_constants(config.optimizer)
    decoder.param_shardings(config.model, mesh, rules)  # stops at sizes that the mesh cannot divide
    return tokenizer


def first_state(config: Config, optimizer: optax.GradientTransformation, shardings: TrainState) -> TrainState:
    """The state before the first step: a pretrained model, or random weights."""
    if config.model.path:
        params = load_pretrained(config.model, shardings.params)
        return states.state_from_params(params, optimizer, shardings)
    return states.init_state(config.model, optimizer, shardings, seed=config.seed)


def number_of_steps(config: Config, rows: int) -> int:
    """Optimiser steps: as configured, or from the number of passes over the rows."""
    if config.train.steps:
        return config.train.steps
    steps = math.ceil(config.train.epochs * rows / config.train.batch_size)
    if steps >= 2**31:
        raise ConfigError(f"train.epochs={config.train.epochs:g} makes {steps} steps; lower it")
    return max(1, steps)


def write_summary(workdir: pathlib.Path, summary: Row) -> None:
    """Write WORKDIR/summary.json, on the first process."""
    if jax.process_index() == 0:
        text = json.dumps(summary, indent=2, allow_nan=False)
        (workdir / "summary.json").write_text(text + "\n", encoding="utf-8")


def check_workdir(workdir: pathlib.Path) -> None:
    """Stop if a run could not write there. Makes nothing yet: a mistake should leave no directory behind."""
    existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"--workdir={workdir}: {existing} is a file; choose another directory")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"--workdir={workdir}: {existing} cannot be written; choose another directory")


def default_workdir(config_path: pathlib.Path) -> pathlib.Path:
    """A new directory for this run; several processes could not agree on one."""
    if jax.process_count() > 1:
        raise ConfigError("several processes need one place to write to: set --workdir=DIR")
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs") / f"{config_path.stem}-{now}"


def main(arguments: command_line.CommandLine) -> None:
    config = arguments.config
    meshes.join_cluster(config.mesh)
    console = Console(quiet=jax.process_index() != 0)
    workdir = pathlib.Path(arguments.flag("workdir") or default_workdir(arguments.config_path))
    train(config, workdir, console)
    console.print(f"everything was written to {workdir.resolve()}")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "workdir", None, "Where to write; a new directory in runs/ if not given.", flag_values=values
    )


if __name__ == "__main__":
    command_line.run(main, define_flags)
