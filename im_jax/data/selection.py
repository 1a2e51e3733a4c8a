"""From encoded sources to what is trained and what is held out: amounts, subsets, duplicates, the split."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config
from im_jax.data.dataset import EncodedDataset
from im_jax.data.duplicates.finding import DuplicateReport, Examples, find_duplicates
from im_jax.data.mixture import Amount, occurrences
from im_jax.data.selected import SelectedDataset
from im_jax.data.statistics import DataReport
from im_jax.data.subset import subset
from im_jax.data.tokenizers import Tokenizer
from im_jax.errors import ConfigError, DataError
from im_jax.text import counted
from im_jax.token_classes import MAIN_CLASS_TABLE, TokenClass

_PROMPT: Final = np.isin(MAIN_CLASS_TABLE, (TokenClass.SYSTEM, TokenClass.USER))


class TooFewError(ConfigError):
    """Nothing would be left to train on beside the held-out examples."""


class Pool(NamedTuple):
    """The encoded examples of one source."""

    name: str
    """Empty where there is only one."""
    dataset: EncodedDataset
    report: DataReport
    amount: Amount = Amount()


@dataclass(frozen=True)
class Share:
    """What became of a source of a mixture."""

    amount: str
    trained: int
    """Different examples that are trained on."""
    occurrences: int
    """How often they occur in a pass over the data."""
    held_out: int
    report: DataReport
    """Counts over the whole source."""

    def line(self, name: str) -> str:
        """For a reader."""
        often = "" if self.occurrences == self.trained else f", {self.occurrences:,} times"
        held = f", {self.held_out:,} held out" if self.held_out else ""
        of = f"of {counted(self.report.kept, 'example')}, {self.amount}"
        return f"  {name}: {self.trained:,} trained{often}{held}; {of}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is used, and the counts over the whole source."""
        used = {"amount": self.amount, "trained": self.trained, "occurrences": self.occurrences}
        return used | {"held_out": self.held_out} | self.report.as_dict()


@dataclass(frozen=True, eq=False)
class Selection:
    """Examples to train on, in order, and held-out ones; and what is said of them."""

    train: SelectedDataset
    heldout: SelectedDataset
    duplicates: DuplicateReport
    shares: Mapping[str, Share] = field(default_factory=dict)
    """By source; none where there is only one."""


def select(
    pools: Sequence[Pool],
    heldout: SelectedDataset | None,
    config: Config,
    tokenizer: Tokenizer,
    doing: Activity = silent,
) -> Selection:
    """What is trained and held out, a function of the data, `data.*` and `eval.*`.

    Of each source its amount is drawn, of all that the subset; duplicates go; some are held out, if no
    held-out ones are from elsewhere; and what is left occurs as often as its source says.

    Args:
        pools: the sources.
        heldout: held-out examples that are from elsewhere.
        config: a checked configuration.
        tokenizer: gives back the text of prompts.
        doing: shows what takes long.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: nothing is left.
    """
    data = config.data
    for pool in pools:
        if pool.name and not len(pool.dataset):
            lost = pool.report.losses() or "it has none"
            raise DataError(f"{pool.name}: no example of it is kept ({lost}); mend it, or leave it out")
    dataset = SelectedDataset.of([pool.dataset for pool in pools], [pool.name for pool in pools])
    drawn = [occurrences(len(pool.dataset), pool.amount, data.seed, pool.name) for pool in pools]
    times = np.concatenate(drawn)
    chosen = np.flatnonzero(times)
    if (limits := data.subset).examples:
        words = (dataset.measured(name, chosen) for name in ("instruction_words", "output_words"))
        chosen = chosen[subset(*words, examples=limits.examples, ratio=limits.ratio, seed=data.seed)]

    search = _Search(dataset, tokenizer, data.deduplicate, doing)
    if heldout is not None:
        stays, duplicates = search(chosen, heldout)
        chosen = chosen[stays]
        held = heldout
    else:
        removes = data.deduplicate != "none"
        if removes:
            stays, duplicates = search(chosen, dataset.take(chosen[:0]))
            chosen = chosen[stays]
        is_held = _held_out(dataset, chosen, config)
        held, chosen = dataset.take(chosen[is_held]), chosen[~is_held]
        _, found = dataclasses.replace(search, deduplicate="none")(chosen, held)
        if removes:  # what a training example and a held-out one still have in common
            duplicates.leaks, duplicates.prompt_leaks = found.leaks, found.prompt_leaks
        else:
            duplicates = found
    if len(dataset) and not len(chosen):
        raise DataError(
            f"data.deduplicate={data.deduplicate} leaves no example to train on: all are held out too"
        )
    numbers = np.repeat(chosen, times[chosen])
    train = dataset.take(numbers)
    return Selection(train, held, duplicates, _shares(pools, dataset, chosen, train, held))


def _held_out(
    dataset: SelectedDataset, chosen: jt.Int64[np.ndarray, " N"], config: Config
) -> jt.Bool[np.ndarray, " N"]:
    """Which of some examples are held out: `eval.num_examples` at random by `data.seed`.

    Of a mixture, each source gives of its examples as its part of all is, and at least one.
    """
    count, held = config.eval.num_examples, np.zeros(len(chosen), bool)
    if 0 < len(chosen) <= count:
        raise TooFewError(
            f"eval.num_examples={count} would leave none of {counted(len(chosen), 'example')} to train on; "
            "lower it, or set eval.path to a file of held-out examples"
        )
    if not dataset.is_mixture:
        held[np.random.default_rng(config.data.seed).permutation(len(chosen))[:count]] = True
        return held
    source = dataset.source[chosen]
    sizes = np.bincount(source, minlength=len(dataset.sources))
    for at, (name, number) in enumerate(zip(dataset.sources, shared_out(count, sizes.tolist()), strict=True)):
        mine = np.flatnonzero(source == at)
        order = np.random.default_rng([config.data.seed, 1, *name.encode()]).permutation(len(mine))
        held[mine[order[:number]]] = True
    return held


def shared_out(count: int, sizes: Sequence[int]) -> list[int]:
    """How many of `count` examples each source holds out: its part of all, by largest remainders.

    Each that has two or more holds out one at least, if `count` is enough for all; none gives its last.
    """
    total = sum(sizes)
    exact = [count * size / max(total, 1) for size in sizes]
    given = [min(math.floor(part), max(size - 1, 0)) for part, size in zip(exact, sizes, strict=True)]
    if count >= len(sizes):
        given = [
            max(number, min(1, size - 1)) if size else 0 for number, size in zip(given, sizes, strict=True)
        ]
    while sum(given) > count:
        given[given.index(max(given))] -= 1
    by_remainder = sorted(range(len(sizes)), key=lambda at: (given[at] - exact[at], at))
    while sum(given) < count:
        open_ones = [at for at in by_remainder if given[at] < sizes[at] - 1]
        if not open_ones:
            break
        for at in open_ones[: count - sum(given)]:
            given[at] += 1
    return given


@dataclass(frozen=True)
class _Search:
    """For duplicates among examples of a data set and held-out ones."""

    dataset: SelectedDataset
    tokenizer: Tokenizer
    deduplicate: str
    doing: Activity

    def __call__(
        self, chosen: jt.Int64[np.ndarray, " N"], heldout: SelectedDataset
    ) -> tuple[jt.Bool[np.ndarray, " N"], DuplicateReport]:
        """Which of the chosen stay, and what was found."""
        before = len(heldout)

        def place(number: int) -> tuple[SelectedDataset, int]:
            return (heldout, number) if number < before else (self.dataset, int(chosen[number - before]))

        def prompt_of(number: int) -> str:
            where, at = place(number)
            view = where[at]
            return self.tokenizer.decode(view.tokens[_PROMPT[view.classes]])

        def id_of(number: int) -> str:
            where, at = place(number)
            return where[at].id

        examples = Examples(
            whole=np.concatenate([heldout.column("whole"), self.dataset.measured("whole", chosen)]),
            prompt=np.concatenate([heldout.column("prompt"), self.dataset.measured("prompt", chosen)]),
            source=np.concatenate([np.zeros(before, np.uint16), self.dataset.source[chosen]]),
            heldout=before,
            sources=self.dataset.sources,
            id_of=id_of,
            prompt_of=prompt_of,
        )
        return find_duplicates(examples, self.deduplicate, self.doing)


def _shares(
    pools: Sequence[Pool],
    dataset: SelectedDataset,
    chosen: jt.Int64[np.ndarray, " N"],
    train: SelectedDataset,
    held: SelectedDataset,
) -> dict[str, Share]:
    if not dataset.is_mixture:
        return {}
    of_held = held.source if held.is_mixture else np.zeros(0, np.uint16)  # those of `eval.path` are of none
    parts = (dataset.source[chosen], train.source, of_held)
    trained, occur, held_out = (np.bincount(part, minlength=len(pools)).tolist() for part in parts)
    return {
        pool.name: Share(str(pool.amount), trained[at], occur[at], held_out[at], pool.report)
        for at, pool in enumerate(pools)
    }
