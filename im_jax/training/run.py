"""A run put together from its configuration: everything that is needed before its first step.

Nothing here writes, so it can be used in a notebook:

    run = prepare_run(resolve(config))
    with jax.set_mesh(run.mesh):
        state = run.first_state()
        state, metrics = run.train_step(state, run.frozen, run.put(next(run.batches())), run.told(1))
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from im_jax import mesh as meshes
from im_jax import validation
from im_jax.activity import Activity, silent
from im_jax.batch import Batch
from im_jax.config import Config, OptimizerConfig
from im_jax.data.pipeline import NumberedBatch, numbered_iterator, train_iterator
from im_jax.data.prepare import Prepared
from im_jax.data.tokenizers import Tokenizer, make_tokenizer, tokenizer_path
from im_jax.errors import ConfigError
from im_jax.evaluation.heldout import HeldOutLoss
from im_jax.evaluation.protocol import Evaluation
from im_jax.events import Happened
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.models import decoder
from im_jax.models.adapters.resolution import resolve_adapter
from im_jax.models.checkpoints import grow_vocabulary, resolve_model
from im_jax.models.loaded import Model
from im_jax.models.sharding import ShardingRules
from im_jax.recorder import UNRECORDED, Recorder
from im_jax.studies import registry
from im_jax.training import state as states
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.digest import digest
from im_jax.training.first_weights import first_weights
from im_jax.training.optimizer import carry_over, make_optimizer, resolve_constants
from im_jax.training.partition import Frozen, IsTrained, merge
from im_jax.training.program import frozen_shardings, make_program
from im_jax.training.state import TrainState
from im_jax.training.step import TrainStep
from im_jax.training.told import Told, scheduled_weights, teller
from im_jax.training.trainable import trained_parts

if TYPE_CHECKING:
    import grain


class Resolved(NamedTuple):
    """What is known of a run before any of its data is read."""

    config: Config
    """With what the checkpoint, the tokenizer and the preset decide filled in."""
    policy: LossPolicy
    mesh: Mesh
    rules: ShardingRules
    tokenizer: Tokenizer
    began: float
    """`time.perf_counter()` when the run began."""


@dataclass(frozen=True)
class Run:
    """A run that is ready to start."""

    config: Config
    policy: LossPolicy
    mesh: Mesh
    rules: ShardingRules
    tokenizer: Tokenizer
    began: float
    data: Prepared
    fingerprint: str
    """Of the examples: another one is another run."""
    last_step: int
    optimizer: optax.GradientTransformation
    learning_rates: Sequence[float]
    """Of each step, the first one's at 0."""
    shardings: TrainState
    train_step: TrainStep
    """Compiled when it is first called; the state that goes in is spent."""
    is_trained: IsTrained
    """Which parameters are in the state; the others are in `frozen`."""
    frozen: Frozen
    base: str
    """Digest of the parameters that are only read; empty: all are trained."""
    told: Callable[[int], Told]
    """What a step is told, by its number."""
    evaluations: Sequence[Evaluation]

    def first_state(self) -> TrainState:
        """The state before the first step. Raises as `first_weights`."""
        params = first_weights(self.config.model, self.shardings.params, seed=self.config.seed)
        return states.state_from_params(params, self.optimizer, self.shardings)

    def abstract_state(self) -> TrainState:
        """Shapes, types and places of the state."""
        abstract = states.abstract_state(self.config.model, self.optimizer, self.is_trained)
        return states.with_shardings(abstract, self.shardings)

    def restored_state(self, saved: Checkpoints) -> TrainState:
        """The state in the newest checkpoint; the optimiser may have had other constants there."""
        model, names = self.config.model, {field.name for field in dataclasses.fields(OptimizerConfig)}
        flat = {name.removeprefix("optimizer."): value for name, value in saved.saved_config().items()}
        before = OptimizerConfig(**{name: value for name, value in flat.items() if name in names})
        if before == self.config.optimizer:
            return saved.restore(self.abstract_state())
        optimizer = make_optimizer(before, optax.constant_schedule(0.0))
        shardings = states.state_shardings(model, optimizer, self.mesh, self.rules, self.is_trained)
        abstract = states.abstract_state(model, optimizer, self.is_trained)
        state = saved.restore(states.with_shardings(abstract, shardings))
        moments = carry_over(state.params, state.opt_state, self.optimizer, self.shardings.opt_state)
        return state._replace(opt_state=moments)

    def batches(self) -> "grain.DatasetIterator[Batch]":
        """Batches from the first step on, of the rows that this process holds; `put` makes them global."""
        return train_iterator(self.data.train_rows, **self._reading())

    def numbered_batches(self) -> "grain.DatasetIterator[NumberedBatch]":
        """`batches`, with the numbers of their rows."""
        return numbered_iterator(self.data.train_rows, **self._reading())

    def _reading(self) -> dict[str, Any]:
        size = self.config.train.batch_size
        return {
            "seed": self.config.seed,
            "batch_size": size,
            "local": meshes.local_rows(self.mesh, size),
            "workers": self.config.data.workers,
        }

    def put(self, batch: Batch) -> Batch:
        """A batch on the devices."""
        return meshes.put_batch(batch, self.mesh)

    def model(self, state: TrainState) -> Model:
        """The model in a state, which must not be spent while it is used."""
        params = merge(state.params, self.frozen.rest)
        return Model(params, self.config.model, self.tokenizer, self.data.template, self.mesh, self.rules)


def resolve(
    config: Config, rows_before: int | None = None, devices: Sequence[jax.Device] | None = None
) -> Resolved:
    """Fill in, in a copy, what the checkpoint, the tokenizer and the preset decide.

    Args:
        config: a checked configuration.
        rows_before: of the embedding, in the run that goes on; `model.vocab_size=grow` keeps them.
        devices: those to use; None: all. They may be only described (`jax.experimental.topologies`).

    Raises:
        UserError: whatever cannot work, as far as it is known before any data is read.
    """
    began, config = time.perf_counter(), copy.deepcopy(config)
    policy, rules = make_policy(config.loss), ShardingRules(reduce_dtype=config.train.reduce_dtype)
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh)
    config.model = resolve_adapter(resolve_model(config.model))
    validation.check_base(config.model)
    validation.check_length(config)
    validation.choose_rope(config)
    config.tokenizer.path = tokenizer_path(config)
    tokenizer = make_tokenizer(config.tokenizer.path)
    parts = rules.parts_of("vocab", mesh)
    config.model = grow_vocabulary(config.model, tokenizer.vocab_size, parts, rows_before)
    validation.resolve_vocabulary(config, tokenizer.vocab_size)
    config.optimizer = resolve_constants(config.optimizer)
    decoder.param_shardings(config.model, mesh, rules)  # stops at sizes that the mesh cannot divide
    trained_parts(config.model, config.train.trainable)  # stops at names that there are not
    return Resolved(config, policy, mesh, rules, tokenizer, began)


def prepare_run(
    resolved: Resolved,
    show: Callable[[str], None] = lambda text: None,
    doing: Activity = silent,
    events: Recorder = UNRECORDED,
) -> Run:
    """Read the data, and put together what trains on it.

    Args:
        resolved: the configuration.
        show: is given some lines about what was read, before it is checked.
        doing: shows what takes long.
        events: is told when the data is read.

    Raises:
        UserError: the data cannot be used, or something would fail at the end of the run.
    """
    config, policy, mesh, rules, tokenizer, _ = resolved
    with events.during(Happened.DATA):
        data = registry.prepare(config, tokenizer, policy.largest(), doing)
    show(data.summary())
    data.report.check(config.data, require_trained_stop=config.loss.require_trained_stop)
    heldout = HeldOutLoss(config, policy, data.heldout_rows, mesh, rules, data.heldout_by_source)
    evaluations = [heldout, *registry.evaluations(config), *_tasks(config)]
    for evaluation in evaluations:
        evaluation.check()

    last_step = number_of_steps(config, len(data.train_rows))
    program = make_program(config, mesh, rules, last_step)
    frozen = _only_read(config, mesh, rules, program.is_trained)
    return Run(
        *resolved,
        data=data,
        fingerprint=data.fingerprint(),
        last_step=last_step,
        optimizer=program.optimizer,
        # Now: asking for the rate at each step would wait for the devices.
        learning_rates=np.asarray(program.schedule(np.arange(last_step))).tolist(),
        shardings=program.shardings,
        train_step=program.train_step,
        is_trained=program.is_trained,
        frozen=frozen,
        base=digest(frozen.rest) if frozen.rest else "",
        told=teller(
            scheduled_weights(policy, last_step),
            seed=config.seed,
            mesh=mesh,
            coefficients={"kl": lambda _: jnp.float32(config.loss.kl.weight)},
        ),
        evaluations=evaluations,
    )


def _tasks(config: Config) -> Sequence[Evaluation]:
    """The benchmark tasks that are wanted."""
    if not config.eval.tasks:
        return []
    from im_jax.evaluation.harness.during_training import TaskScores  # only here: an optional package

    return [TaskScores(config)]


def _only_read(config: Config, mesh: Mesh, rules: ShardingRules, is_trained: IsTrained) -> Frozen:
    """What is not trained, and what the loss reads of the model that the run starts from."""
    rest, changed = frozen_shardings(config, mesh, rules, is_trained)
    with jax.set_mesh(mesh):
        frozen = Frozen(first_weights(config.model, rest, seed=config.seed))
        if changed is None:
            return frozen
        narrow = dataclasses.replace(config.model, param_dtype=config.model.compute_dtype)
        return frozen._replace(base=first_weights(narrow, changed, seed=config.seed))


def number_of_steps(config: Config, rows: int) -> int:
    """Optimiser steps: as configured, or from the number of passes over the rows."""
    if config.train.steps:
        return config.train.steps
    steps = math.ceil(config.train.epochs * rows / config.train.batch_size)
    if steps >= 2**31:
        raise ConfigError(f"train.epochs={config.train.epochs:g} makes {steps} steps; lower it")
    return max(1, steps)
