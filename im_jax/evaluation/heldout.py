"""Held-out loss of every token class, whatever is trained."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

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

_AHEAD: Final = 2
"""Batches that the devices have to do at a time."""

EvalStep = Callable[[Params, Batch], ClassSums]


class HeldOutLoss(Evaluation):
    """`loss`, the mean over tokens weighted by the policy, and `nll/CLASS` of each class; compiled once.

    Of a mixture also `loss/SOURCE` and `nll/CLASS/SOURCE`; sums over all sources are the sums of each.
    """

    name = "heldout"

    def __init__(
        self,
        config: Config,
        policy: LossPolicy,
        rows: RowSource,
        mesh: Mesh,
        rules: ShardingRules,
        by_source: Mapping[str, range] = MappingProxyType({}),
    ) -> None:
        """Args: a resolved configuration, what is trained, held-out rows, where they are measured, and which
        rows are of each source, one source after the other; none: they are not told apart."""
        self.every = config.eval.every
        self._step = jax.jit(make_eval_step(config.model, rules=rules))
        self._rows, self._policy = rows, policy
        self._by_source = by_source or {"": range(len(rows))}
        self._length, self._batch_size = config.data.max_length, eval_batch_size(config)
        self._local = local_rows(mesh, self._batch_size)

    def __call__(self, model: Model, step: int) -> Entry | None:
        """None if nothing is held out."""
        if not len(self._rows):
            return None
        sums = {name: self._sums(model, rows) for name, rows in self._by_source.items() if len(rows)}
        entry = self._entry(added(list(sums.values())))
        for source, of_source in sums.items() if "" not in sums else ():
            entry |= {f"{name}/{source}": value for name, value in self._entry(of_source).items()}
        return entry

    def _entry(self, sums: ClassSums) -> Entry:
        return {"loss": policy_loss(sums, self._policy.table())} | class_metrics(sums)

    def _sums(self, model: Model, within: range) -> ClassSums:
        batches = eval_batches(
            self._rows, length=self._length, batch_size=self._batch_size, local=self._local, within=within
        )
        sums: list[ClassSums] = []
        for batch in batches:
            if len(sums) >= _AHEAD:  # or it would be asked long before the devices have come so far
                jax.block_until_ready(sums[-_AHEAD])
            self.pause()
            sums.append(self._step(model.params, put_batch(batch, model.mesh)))
        return added(jax.device_get(sums))

    def table(self, entry: Entry) -> Table:
        """Loss by token class, with what the policy trains, and by source."""
        return heldout_table(entry, self._policy, [name for name in self._by_source if name])


def added(sums: Sequence[ClassSums]) -> ClassSums:
    """Sums over several batches, or several sources, in float64."""
    return ClassSums(*(np.sum(np.stack(f), axis=0, dtype=np.float64) for f in zip(*sums, strict=True)))


def make_eval_step(model: ModelConfig, *, rules: ShardingRules) -> EvalStep:
    """The function `(params, batch) -> ClassSums` of plain NLL of every target, whatever is trained."""
    plain = LossConfig()

    def eval_step(params: Params, batch: Batch) -> ClassSums:
        ones = target_mask(batch.segments).astype(jnp.float32)
        return weighted_loss(params, batch, make_targets(batch, ones), model, plain, rules)[1]

    return eval_step


def heldout_table(entry: Entry, policy: LossPolicy, sources: Sequence[str] = ()) -> Table:
    """Held-out loss by token class, with what the policy trains; and of each source, over what is trained."""
    table = Table(title=f"Held-out loss by token class after training with policy {policy.name}")
    for name, justify in (("class", "left"), ("trained", "left"), ("tokens", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("NLL (nats)", justify="right")
    table.add_column("perplexity", justify="right")
    for main in MAIN_CLASSES:
        if f"nll/{main.label}" not in entry:
            continue
        nll = entry[f"nll/{main.label}"]
        weight = " / ".join(dict.fromkeys(policy.shown(c) for c in TokenClass if c.main is main))
        trained = "no" if weight == "0" else "yes" if weight == "1" else f"weight {weight}"
        tokens = f"{entry[f'tokens/{main.label}']:,}"
        table.add_row(main.label, trained, tokens, f"{nll:.4f}", f"{math.exp(min(nll, 700)):.3g}")
    table.add_section()
    if policy.changes:
        table.caption = "all trained: by the weights at the end of loss.schedule"
    loss = entry["loss"]
    table.add_row("all trained", "", "", f"{loss:.4f}", f"{math.exp(min(loss, 700)):.3g}")
    for number, source in enumerate(source for source in sources if f"loss/{source}" in entry):
        if not number:
            table.add_section()
        loss = entry[f"loss/{source}"]
        tokens = sum(entry.get(f"tokens/{main.label}/{source}", 0) for main in MAIN_CLASSES)
        table.add_row(
            f"all trained, {source}", "", f"{tokens:,}", f"{loss:.4f}", f"{math.exp(min(loss, 700)):.3g}"
        )
    return table
