"""The report on a prepared data set: its figures before anything is written."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.config import Config
from im_jax.data.dataset import MEASURES, Dataset
from im_jax.data.duplicates.finding import DuplicateReport
from im_jax.data.prepare import Prepared
from im_jax.data.report.counts import Counts
from im_jax.data.report.fits import Place, places
from im_jax.data.report.measure import Measured, measure
from im_jax.data.selected import SelectedDataset
from im_jax.data.statistics import DataReport
from im_jax.data.stops import stop_tokens
from im_jax.errors import DataError


class Policy(NamedTuple):
    """Weights under a name."""

    name: str
    weights: jt.Float32[np.ndarray, " C"]

    def trained(self, measured: Measured) -> int:
        """Tokens of some examples that carry loss, whatever their messages weigh above 0."""
        return int(measured.targets[self.weights > 0].sum())


class HeldOut(NamedTuple):
    """Examples that are evaluated on."""

    examples: int
    path: str
    """The file that they are of; empty if they are held out of the source."""


@dataclass(frozen=True)
class Report:
    """All that is told of a data set."""

    title: str
    template: str
    tokenizer: str
    max_length: int
    truncation: str
    policies: Sequence[Policy]
    """That of the configuration first."""
    counts: DataReport
    measured: Measured
    """Of what is used of the source: see `build`."""
    sources: Mapping[str, Measured]
    """The same by source, of a mixture."""
    same: DuplicateReport
    heldout: HeldOut | None
    refusal: str
    """Why training would stop at its start; empty if it would not."""

    @property
    def readable(self) -> int:
        """Examples that words and whole lengths are of."""
        return len(self.measured.full_length)

    @property
    def too_long(self) -> int:
        """Those of more than `max_length` tokens."""
        return self.measured.full_length.above(self.max_length)

    @property
    def unused(self) -> int:
        """Examples that are kept, but left by amounts, subsets or `data.deduplicate`."""
        return max(self.counts.kept - self.measured.examples, 0)

    def places(self) -> list[Place]:
        """Where the set lies on the paper's fits."""
        return places(self.measured.ratio_in_words, self.readable)


def build(config: Config, data: Prepared, policies: Sequence[Policy]) -> Report:
    """Measure a prepared data set.

    Examples that are held out of the source count as its own. Where all that is kept is used, words, turns
    and whole lengths are also those of examples that are left out as too long or without output.

    Args:
        config: what it was prepared from.
        data: with its held-out examples.
        policies: what is told of: that of the configuration first.
    """
    stop_length = len(stop_tokens(data.template, data.tokenizer))
    of_source = [data.train, data.heldout] if data.heldout_report is None else [data.train]
    measured = Measured.joined(measure(dataset, stop_length) for dataset in of_source)
    by_source = {
        name: Measured.joined(measure(dataset, stop_length, _numbers(dataset, name)) for dataset in of_source)
        for name in data.shares
    }
    return Report(
        title=_title(config, data),
        template=config.data.template,
        tokenizer=config.tokenizer.path,
        max_length=config.data.max_length,
        truncation=config.data.truncation,
        policies=policies,
        counts=data.report,
        measured=_with_left_out(measured, data.report),
        sources={name: _with_left_out(m, data.shares[name].report) for name, m in by_source.items()},
        same=data.duplicates if data.duplicates is not None else _same(data.train, data.heldout),
        heldout=HeldOut(len(data.heldout), config.eval.path) if len(data.heldout) else None,
        refusal=_refusal(config, data.report),
    )


def _title(config: Config, data: Prepared) -> str:
    named = (config.data.path, config.data.recipe, " + ".join(data.shares), config.data.name)
    return next(filter(None, named), config.data.source)


def _numbers(dataset: Dataset, source: str) -> jt.Int64[np.ndarray, " _"]:
    if not isinstance(dataset, SelectedDataset):
        return np.zeros(0, np.int64)
    return np.flatnonzero(dataset.source == dataset.sources.index(source))


def _with_left_out(kept: Measured, counts: DataReport) -> Measured:
    if kept.examples != counts.kept:
        return kept
    left_out = {
        name: Counts.of_counter(counts.left_out[name]) for name in MEASURES if name in counts.left_out
    }
    joined: dict[str, Any] = {
        name: Counts.joined([getattr(kept, name), found]) for name, found in left_out.items()
    }
    return dataclasses.replace(kept, **joined)


def _refusal(config: Config, counts: DataReport) -> str:
    try:
        counts.check(config.data, require_trained_stop=config.loss.require_trained_stop)
    except DataError as error:
        return str(error)
    return ""


def _same(train: Dataset, heldout: Dataset) -> DuplicateReport:
    """What is twice among examples that nobody has looked at yet, those that are made as they are read."""
    numbers, held = np.arange(len(train)), np.arange(len(heldout))
    whole, prompt = (train.measured(name, numbers) for name in ("whole", "prompt"))
    found = DuplicateReport()
    found.twice.count = _repeated(whole)
    found.prompts.count = _repeated(prompt) - found.twice.count
    found.leaks.count = _also_in(whole, heldout.measured("whole", held))
    found.prompt_leaks.count = _also_in(prompt, heldout.measured("prompt", held)) - found.leaks.count
    return found


def _repeated(digests: jt.UInt64[np.ndarray, " N"]) -> int:
    """How many examples are the same as one before them."""
    return len(digests) - len(np.unique(digests))


def _also_in(digests: jt.UInt64[np.ndarray, " N"], others: jt.UInt64[np.ndarray, " M"]) -> int:
    """How many examples are the same as one of some others."""
    return int(np.count_nonzero(np.isin(digests, others)))
