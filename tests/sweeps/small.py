"""A small sweep for tests, and a stand-in for training that counts its runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from im_jax.config import Config
from im_jax.console import Console
from im_jax.sweeps.cells import Cell, expand
from im_jax.sweeps.definition import Better, KeepCheckpoints, Measure, Plot, Sweep, over
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.running import clear_up, recover, run_cells, unfinished
from tests.training.tiny import tiny_config

LOSS = Measure("heldout.nll/assistant", "loss of answers", "nats", Better.LOWER)


def small_sweep(**changes: Any) -> Sweep:
    """Two policies at two numbers of examples, with two seeds."""
    base = tiny_config()
    base.log.tensorboard = False
    sweep = Sweep(
        title="A small sweep",
        description="For tests.",
        base=base,
        axes={
            "policy": over("loss.policy", "im", "it"),
            "examples": {"40": {"data.num_generated": 48}, "80": {"data.num_generated": 88}},
        },
        measures=(LOSS,),
        seeds=(0, 1),
        plot=Plot(x="examples", series="policy"),
    )
    return unchecked(sweep, **changes)


def unchecked(made: Any, **changes: Any) -> Any:
    """Set fields past the type checks of the tests: a user's file may hold anything."""
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def loss_of(config: Config) -> float:
    """What the stand-in gives as a run's loss."""
    return config.data.num_generated / 100 + config.seed / 8 + (config.loss.policy == "it")


class CountingRunner:
    """Trains nothing, and remembers what it was asked; `fails` says which configurations fail."""

    def __init__(self, fails: Callable[[Config], bool] = lambda _: False) -> None:
        self.asked: list[Config] = []
        self._fails = fails

    def run(self, config: Config, directory: Path, waiting: Callable[[], None]) -> dict[str, Any]:
        self.asked.append(config)
        waiting()
        (directory / "checkpoints" / "6").mkdir(parents=True, exist_ok=True)
        if self._fails(config):
            return {"status": "failed", "error": "the loss is inf"}
        summary = {"step": 6, "seconds": 1.5, "heldout": {"nll/assistant": loss_of(config)}}
        (directory / "summary.json").write_text(json.dumps(summary))
        return {"status": "finished", "summary": summary}


def run_small(
    workdir: Path,
    runner: Any,
    cells: list[Cell] | None = None,
    keep: KeepCheckpoints = KeepCheckpoints.NONE,
    console: Console | None = None,
    workers: int = 1,
    told: list[str] | None = None,
) -> ResultsFile:
    """Run a sweep's cells as the command does."""
    cells = expand(small_sweep()) if cells is None else cells
    results = ResultsFile(workdir / "results.jsonl")
    recover(cells, results, workdir, (told if told is not None else []).append)
    if keep is KeepCheckpoints.NONE:
        clear_up(cells, results, workdir)
    waiting = unfinished(cells, results)
    skipped = len(cells) - len(waiting)
    progress = Progress(console or Console(quiet=True), len(cells), skipped, [LOSS], workers=workers)
    with progress:
        run_cells(waiting, results, workdir, [runner.run] * workers, progress, keep)
    return ResultsFile(workdir / "results.jsonl")
