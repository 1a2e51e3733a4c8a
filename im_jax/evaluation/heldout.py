"""Held-out loss of every token class, whatever is trained."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from rich.table import Table

from im_jax.batch import Batch
from im_jax.config import Config, LossConfig, ModelConfig
from im_jax.data.packing import RowSource
from im_jax.data.pipeline import eval_batches
from im_jax.evaluation.measures import class_metrics, policy_loss
from im_jax.evaluation.protocol import Entry, Evaluation
from im_jax.losses.by_class import ClassSums
from im_jax.losses.policy import LossPolicy
from im_jax.losses.weighting import target_mask
from im_jax.mesh import eval_batch_size, local_rows, put_batch
from im_jax.models.decoder import Params
from im_jax.models.loaded import Model
from im_jax.models.loss import make_targets, weighted_loss
from im_jax.models.sharding import ShardingRules
from im_jax.token_classes import MAIN_CLASSES, TokenClass

EvalStep = Callable[[Params, Batch], ClassSums]


class HeldOutLoss(Evaluation):
    """`loss`, the mean over tokens weighted by the policy, and `nll/CLASS` of each class; compiled once."""

    name = "heldout"

    def __init__(
        self, config: Config, policy: LossPolicy, rows: RowSource, mesh: Mesh, rules: ShardingRules
    ) -> None:
        """Args: a resolved configuration, what is trained, held-out rows, and where they are measured."""
        self.every = config.eval.every
        self._step = jax.jit(make_eval_step(config.model, rules=rules))
        self._rows, self._policy = rows, policy
        self._length, self._batch_size = config.data.max_length, eval_batch_size(config)
        self._local = local_rows(mesh, self._batch_size)

    def __call__(self, model: Model, step: int) -> Entry | None:
        """None if nothing is held out."""
        if not len(self._rows):
            return None
        sums = self._sums(model)
        return {"loss": policy_loss(sums, self._policy.table())} | class_metrics(sums)

    def _sums(self, model: Model) -> ClassSums:
        batches = eval_batches(
            self._rows, length=self._length, batch_size=self._batch_size, local=self._local
        )
        sums = jax.device_get([self._step(model.params, put_batch(b, model.mesh)) for b in batches])
        return ClassSums(*(np.sum(np.stack(f), axis=0, dtype=np.float64) for f in zip(*sums, strict=True)))

    def table(self, entry: Entry) -> Table:
        """Loss by token class, with what the policy trains."""
        return heldout_table(entry, self._policy)


def make_eval_step(model: ModelConfig, *, rules: ShardingRules) -> EvalStep:
    """The function `(params, batch) -> ClassSums` of plain NLL of every target, whatever is trained."""
    plain = LossConfig()

    def eval_step(params: Params, batch: Batch) -> ClassSums:
        ones = target_mask(batch.segments).astype(jnp.float32)
        return weighted_loss(params, batch, make_targets(batch, ones), model, plain, rules)[1]

    return eval_step


def heldout_table(entry: Entry, policy: LossPolicy) -> Table:
    """Held-out loss by token class, with what the policy trains."""
    table = Table(title=f"Held-out loss by token class after training with policy {policy.name}")
    for name, justify in (("class", "left"), ("trained", "left"), ("tokens", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("NLL (nats)", justify="right")
    table.add_column("perplexity", justify="right")
    for main in MAIN_CLASSES:
        if f"nll/{main.label}" not in entry:
            continue
        nll = entry[f"nll/{main.label}"]
        weight = " / ".join(dict.fromkeys(f"{policy.weights[c]:g}" for c in TokenClass if c.main is main))
        trained = "no" if weight == "0" else "yes" if weight == "1" else f"weight {weight}"
        tokens = f"{entry[f'tokens/{main.label}']:,}"
        table.add_row(main.label, trained, tokens, f"{nll:.4f}", f"{math.exp(min(nll, 700)):.3g}")
    table.add_section()
    loss = entry["loss"]
    table.add_row("all trained", "", "", f"{loss:.4f}", f"{math.exp(min(loss, 700)):.3g}")
    return table
