"""From a sweep to its cells: one run configuration for each combination of points, and each seed."""

import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from im_jax.config import Config, config_hash, with_overrides
from im_jax.config.checks import did_you_mean
from im_jax.errors import ConfigError
from im_jax.sweeps.definition import Labels, Sweep
from im_jax.text import in_one_line

_LONGEST_NAME: Final = 100
"""Bytes of labels in the name of a directory or file, of which file systems allow 255 in all."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    labels: Labels
    seed: int
    config: Config
    hash: str

    @property
    def name(self) -> str:
        """For a reader: `policy=im, examples=100, seed=0`."""
        points = [f"{axis}={label}" for axis, label in self.labels.items()]
        return in_one_line(", ".join([*points, f"seed={self.seed}"]))

    @property
    def run(self) -> str:
        """What `--run` calls it, whatever its seed: `im-100`."""
        return "-".join(self.labels.values())

    def directory(self, workdir: pathlib.Path) -> pathlib.Path:
        """Where it runs. One with its hash is found again, also when labels have changed since."""
        runs = workdir / "runs"
        found = sorted(runs.glob(f"*-{self.hash}"))
        readable = as_name(f"{self.run}-seed{self.seed}")
        return found[0] if found else runs / f"{readable}-{self.hash}"


def as_name(text: str) -> str:
    """A text as part of the name of a file, cut where it would be too long for one."""
    safe = re.sub(r"[^\w.+-]", "_", text).encode("utf-8", "replace")
    return safe[:_LONGEST_NAME].decode("utf-8", "ignore")


def combinations(sweep: Sweep) -> list[dict[str, str]]:
    """The combinations of labels that the sweep wants, the last axis changing fastest."""
    product = itertools.product(*sweep.axes.values())
    labels = [dict(zip(sweep.axes, points, strict=True)) for points in product]
    return [combination for combination in labels if sweep.where(combination)]


def expand(sweep: Sweep) -> list[Cell]:
    """All cells in the order in which they run: every combination once before the next seed."""
    return list(_cells(sweep, combinations(sweep)))


def run_named(sweep: Sweep, name: str) -> Cell:
    """The run of a sweep that has a name, with the first seed.

    Raises:
        ConfigError: there is none; similar names are named.
    """
    runs = {cell.run: cell for cell in reversed(expand(sweep))}
    if name not in runs:
        names = list(reversed(runs))
        raise ConfigError(
            f"--run={name}: the sweep has no such run{did_you_mean(name, names)}; "
            f"runs are {', '.join(names[:3])} and so on, {len(names)} in all"
        )
    return runs[name]


def _cells(sweep: Sweep, wanted: Sequence[Labels]) -> Iterator[Cell]:
    for seed in sweep.seeds:
        for labels in wanted:
            overrides = dict.fromkeys(sweep.seed_fields, seed)
            for axis, label in labels.items():
                overrides |= sweep.axes[axis][label]
            config = with_overrides(sweep.base, overrides)
            yield Cell(labels, seed, config, config_hash(config))
