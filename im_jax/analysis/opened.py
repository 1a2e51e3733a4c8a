"""Runs that are to be analysed: the data that they saw, and their models by step."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from im_jax.activity import Activity, silent
from im_jax.config import Config, flatten
from im_jax.data.dataset import Dataset, ExampleView
from im_jax.data.prepare import Prepared
from im_jax.data.selected import SelectedDataset
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import ConfigError
from im_jax.losses.policy import make_policy
from im_jax.models.loaded import Model
from im_jax.opening import open_run, open_start, steps_of_run
from im_jax.saved_config import config_of_run
from im_jax.studies.registry import prepare


@dataclass(frozen=True)
class Examples:
    """Some examples of a run's training or held-out set, in the order of their numbers."""

    numbers: tuple[int, ...]
    """In the set."""
    views: Sequence[ExampleView]
    sources: tuple[str, ...]
    """Of each, the source of a mixture; empty where there is none."""

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class AnalysedRun:
    """A run with the examples that are asked about."""

    name: str
    """As the command line named it."""
    config: Config
    data: Prepared
    steps: tuple[int, ...]
    """Of the checkpoints that are analysed, in order."""
    train: Examples
    heldout: Examples

    def model(self, step: int) -> Model:
        """The model at a step."""
        return open_run(self.name, step=step)

    def start(self) -> Model:
        """The model that it started from."""
        return open_start(self.name)

    def epochs(self, step: int) -> float:
        """Passes over the training rows until a step."""
        return step * self.config.train.batch_size / len(self.data.train_rows)


def open_runs(
    names: Sequence[str], *, limit: int, seed: int, all_steps: bool = False, doing: Activity = silent
) -> list[AnalysedRun]:
    """Runs that saw the same data with the same tokenizer, so that their examples can be compared.

    Args:
        names: their workdirs.
        limit: examples that are drawn of each set, at most.
        seed: of the draw.
        all_steps: every checkpoint that was kept; else the newest alone.
        doing: shows what takes long.

    Raises:
        ConfigError: a run has no checkpoint or holds nothing out, or saw other data than the first.
        UserError: its data cannot be read any more.
    """
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"--runs names {repeated[0]} twice; name each run once")
    found: list[AnalysedRun] = []
    prepared: dict[str, Prepared] = {}
    for name in names:
        steps = steps_of_run(name)
        config = config_of_run(name)
        config.tokenizer.path = tokenizer_path(config)
        key = str({k: v for k, v in flatten(config).items() if k.startswith(_DATA)})
        if key not in prepared:
            with doing(f"reading the data of {name}"):
                tokenizer = make_tokenizer(config.tokenizer.path)
                prepared[key] = prepare(config, tokenizer, make_policy(config.loss).largest(), doing)
        data = prepared[key]
        if not len(data.heldout):
            raise ConfigError(
                f"{name} holds no example out, so that nothing is known of overfitting; train it with "
                "eval.num_examples above 0"
            )
        run = AnalysedRun(
            *(name, config, data, tuple(steps if all_steps else steps[-1:])),
            train=_drawn(data.train, limit, seed),
            heldout=_drawn(data.heldout, limit, seed),
        )
        if found:
            _check_same(found[0], run)
        found.append(run)
    return found


_DATA = ("data.", "eval.num_examples", "eval.path", "tokenizer.", "seed")


def _drawn(dataset: Dataset, limit: int, seed: int) -> Examples:
    numbers = np.arange(len(dataset))
    if len(dataset) > limit:
        numbers = np.sort(np.random.default_rng(seed).choice(len(dataset), limit, replace=False))
    chosen = [int(number) for number in numbers]
    sources = ("",) * len(chosen)
    if isinstance(dataset, SelectedDataset) and dataset.is_mixture:
        sources = tuple(dataset.sources[int(dataset.source[number])] for number in chosen)
    return Examples(tuple(chosen), [dataset[number] for number in chosen], sources)


def _check_same(first: AnalysedRun, other: AnalysedRun) -> None:
    """Stop unless two runs have the same tokens of the same examples."""
    paths = first.config.tokenizer.path, other.config.tokenizer.path
    if first.data.tokenizer.vocab_size != other.data.tokenizer.vocab_size or paths[0] != paths[1]:
        raise ConfigError(
            f"{first.name} and {other.name} have different tokenizers, {paths[0]} and {paths[1]}, so their "
            "losses cannot be compared; analyse them apart"
        )
    if first.data.fingerprint() != other.data.fingerprint():
        mine, theirs = flatten(first.config), flatten(other.config)
        fields = [k for k in mine if k.startswith(_DATA) and mine[k] != theirs[k]]
        differs = ", ".join(f"{k}={mine[k]} and {theirs[k]}" for k in fields) or "their files have changed"
        raise ConfigError(
            f"{first.name} and {other.name} saw different data ({differs}), so their losses cannot be "
            "compared; analyse them apart"
        )


def workdir_name(name: str) -> str:
    """How a run is called in tables and figures."""
    return pathlib.Path(name).name or name
