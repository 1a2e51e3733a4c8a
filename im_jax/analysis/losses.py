"""Negative log-likelihood of every example by token class."""

from collections.abc import Sequence
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np

from im_jax.analysis.stretches import stretches
from im_jax.data.dataset import ExampleView
from im_jax.evaluation.likelihood import Likelihoods
from im_jax.losses.by_class import ClassSums
from im_jax.token_classes import INSTRUCTION_CLASSES, NUM_CLASSES, OUTPUT_CLASSES, TokenClass

_AT_A_TIME = 256
"""Examples that are laid out at once."""

INSTRUCTION: tuple[TokenClass, ...] = tuple(INSTRUCTION_CLASSES)
OUTPUT: tuple[TokenClass, ...] = tuple(c for c in OUTPUT_CLASSES if c.main is c)


@dataclass(frozen=True)
class Losses:
    """Of E examples, by main class."""

    nll: jt.Float64[np.ndarray, "E C"]
    """Sums, in nats."""
    tokens: jt.Int64[np.ndarray, "E C"]

    def means(self, classes: Sequence[TokenClass]) -> jt.Float64[np.ndarray, " E"]:
        """Mean over an example's tokens of some classes; NaN where it has none."""
        nll, tokens = self.of(classes)
        return np.divide(nll, tokens, out=np.full(len(nll), np.nan), where=tokens > 0)

    def of(
        self, classes: Sequence[TokenClass]
    ) -> tuple[jt.Float64[np.ndarray, " E"], jt.Int64[np.ndarray, " E"]]:
        """Sums and counts of some classes."""
        return self.nll[:, list(classes)].sum(axis=1), self.tokens[:, list(classes)].sum(axis=1)

    def sums(self) -> ClassSums:
        """Over all examples."""
        count = self.tokens.sum(axis=0)
        return ClassSums(self.nll.sum(axis=0), count, count)

    def among(self, chosen: jt.Bool[np.ndarray, " E"]) -> "Losses":
        """Of those examples alone that are chosen."""
        return Losses(self.nll[chosen], self.tokens[chosen])


def losses_of(likelihoods: Likelihoods, examples: Sequence[ExampleView]) -> Losses:
    """Losses of some examples, each read alone.

    Args:
        likelihoods: of the model.
        examples: encoded.
    """
    nll = np.zeros((len(examples), NUM_CLASSES))
    tokens = np.zeros((len(examples), NUM_CLASSES), np.int64)
    for begin in range(0, len(examples), _AT_A_TIME):
        pairs, owners = [], []
        for number, example in enumerate(examples[begin : begin + _AT_A_TIME], begin):
            ids = example.tokens.tolist()
            for stretch in stretches(example):
                pairs.append((ids[: stretch.start], ids[stretch.start : stretch.end]))
                owners.append((number, int(stretch.token_class)))
        for (number, of), pair, score in zip(owners, pairs, likelihoods(pairs), strict=True):
            nll[number, of] -= score.logprob
            tokens[number, of] += len(pair[1])
    return Losses(nll, tokens)
