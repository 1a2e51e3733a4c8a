"""BLEU of answers, as sacrebleu computes it, with intervals from texts that are drawn again and again."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jaxtyping as jt
import numpy as np

from im_jax.errors import ConfigError
from im_jax.evaluation.statistics.intervals import LEVEL, Interval

_DRAWS: Final = 1000
"""As many as sacrebleu's own tests make."""
_ORDERS: Final = 4
"""The longest n-grams that count."""


def sacrebleu() -> Any:
    """The library. Raises `ConfigError` where it is not installed."""
    try:
        return importlib.import_module("sacrebleu")
    except ImportError:
        raise ConfigError("BLEU needs sacrebleu; install it: pip install 'im_jax[analyse]'") from None


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU of N answers, each with its reference, kept as the counts that it is made of."""

    counts: jt.Int64[np.ndarray, "N 10"]
    """Of each: n-grams that the reference has, by length; all n-grams; words; words of the reference."""
    signature: str
    """sacrebleu's, of how it was computed."""

    @property
    def value(self) -> float:
        """In percent."""
        return _score(self.counts.sum(axis=0))

    def resampled(self) -> jt.Float64[np.ndarray, " R"]:
        """BLEU of as many answers drawn with replacement, R times; the same draws for as many others."""
        answers = len(self.counts)
        times = np.random.default_rng(0).multinomial(answers, np.full(answers, 1 / answers), _DRAWS)
        return np.asarray([_score(sums) for sums in times @ self.counts])

    def interval(self) -> Interval:
        """95 %, over the choice of answers (Koehn 2004)."""
        return percentiles(self.resampled())


def bleu(answers: Sequence[str], references: Sequence[str]) -> Bleu:
    """BLEU of answers, each with its own reference."""
    # Counts of a sentence are the same without the effective order, for which sacrebleu warns.
    sentence = sacrebleu().metrics.BLEU(effective_order=True)
    found = [sentence.sentence_score(*pair) for pair in zip(answers, [[r] for r in references], strict=True)]
    counts = [(*each.counts, *each.totals, each.sys_len, each.ref_len) for each in found]
    corpus = sacrebleu().metrics.BLEU()
    corpus.corpus_score(["a"], [["a"]])  # a signature tells the number of references, which only this sets
    return Bleu(np.asarray(counts, np.int64).reshape(-1, 2 * _ORDERS + 2), str(corpus.get_signature()))


def self_bleu(answers: Sequence[str]) -> float:
    """Mean BLEU of each answer against all others, in percent: high where they are alike (Zhu et al. 2018).

    NaN with fewer than two answers.
    """
    if len(answers) < 2:
        return float("nan")
    metric = sacrebleu().metrics.BLEU(effective_order=True)
    texts = list(answers)
    scores = [
        metric.sentence_score(text, texts[:at] + texts[at + 1 :]).score for at, text in enumerate(texts)
    ]
    return float(np.mean(scores))


def percentiles(values: jt.Float64[np.ndarray, " R"]) -> Interval:
    """The interval that 95 % of some values are in."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))


def _score(sums: jt.Int64[np.ndarray, " 10"]) -> float:
    """Of all n-grams and words, smoothed as sacrebleu does unless told otherwise."""
    numbers = sums.tolist()
    score = sacrebleu().metrics.BLEU.compute_bleu(
        correct=numbers[:_ORDERS],
        total=numbers[_ORDERS : 2 * _ORDERS],
        sys_len=numbers[-2],
        ref_len=numbers[-1],
        smooth_method="exp",
    )
    return float(score.score)
