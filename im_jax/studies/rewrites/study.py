"""How string rewrites plug into the trainer: `data.source=rewrites`, and accuracy at the end of a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config
from im_jax.data.prepare import Prepared
from im_jax.data.tokenizers import Tokenizer
from im_jax.studies.rewrites.examples.prepare import prepare

if TYPE_CHECKING:
    from im_jax.evaluation.protocol import Evaluation


class Rewrites:
    """An `im_jax.studies.registry.Study`."""

    def prepare(
        self,
        config: Config,
        tokenizer: Tokenizer,
        class_weights: jt.Float32[np.ndarray, " C"],
        doing: Activity = silent,
    ) -> Prepared:
        """Training examples, and held-out ones of rules that training never sees."""
        return prepare(config, tokenizer, class_weights, doing)

    def evaluations(self, config: Config) -> Sequence["Evaluation"]:
        """Accuracy at the end."""
        from im_jax.studies.rewrites.evaluation import RewriteAccuracy  # needs JAX

        return [RewriteAccuracy(config)]


STUDY: Final = Rewrites()
