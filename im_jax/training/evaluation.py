"""Held-out loss of every token class, whatever is trained."""

import jax
import numpy as np
from jax.sharding import Mesh

from im_jax.config import Config
from im_jax.data.packing import RowSource
from im_jax.data.pipeline import eval_batches
from im_jax.losses.by_class import ClassSums
from im_jax.losses.policy import LossPolicy
from im_jax.mesh import eval_batch_size, local_rows, put_batch
from im_jax.models.sharding import ShardingRules
from im_jax.training.metrics import Row, class_metrics, policy_loss
from im_jax.training.state import Params
from im_jax.training.step import make_eval_step


class Evaluator:
    """Measures parameters on held-out rows; compiled once."""

    def __init__(
        self, config: Config, policy: LossPolicy, rows: RowSource, mesh: Mesh, rules: ShardingRules
    ) -> None:
        self._step = jax.jit(make_eval_step(config.model, rules=rules))
        self._rows, self._mesh, self._policy = rows, mesh, policy
        self._length, self._batch_size = config.data.max_length, eval_batch_size(config)

    def __call__(self, params: Params, step: int) -> Row | None:
        """The held-out row of metrics.jsonl at a step; None if nothing is held out.

        `loss` is the mean over tokens weighted by the policy, `nll/CLASS` that of each class.
        """
        if not len(self._rows):
            return None
        sums = self._sums(params)
        loss = policy_loss(sums, self._policy.table())
        return {"step": step, "split": "heldout", "loss": loss} | class_metrics(sums)

    def _sums(self, params: Params) -> ClassSums:
        local = local_rows(self._mesh, self._batch_size)
        batches = eval_batches(self._rows, length=self._length, batch_size=self._batch_size, local=local)
        sums = jax.device_get([self._step(params, put_batch(batch, self._mesh)) for batch in batches])
        return ClassSums(*(np.sum(np.stack(f), axis=0, dtype=np.float64) for f in zip(*sums, strict=True)))
