"""Comparisons end when they are settled: runs that would change nothing are left out, and told with why."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax import sweep
from im_jax.config import Config
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluation.statistics.sequential import How
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import Comparison, StopEarly, Sweep, over
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.running import run_cells, unfinished
from im_jax.sweeps.slurm import Options
from im_jax.sweeps.stopping import decisions, in_rounds, left_out, reason_to_leave
from im_jax.sweeps.submitted import Submitted
from tests.sweeps.small import LOSS, CountingRunner, small_sweep
from tests.sweeps.test_jobs import ANSWER, StandIn

SEEDS = tuple(range(8))


def swept(**changes: Any) -> Sweep:
    return small_sweep(**{"seeds": SEEDS, "stop": StopEarly(LOSS.name)} | changes)


def loss(config: Config) -> float:
    """With 40 examples `it` is worse by far; with 80 there is noise alone."""
    rng = np.random.default_rng([config.seed, config.data.num_generated, config.loss.policy == "it"])
    return float(rng.normal(0, 0.1)) + 2 * (config.loss.policy == "it" and config.data.num_generated == 48)


class Noisy(CountingRunner):
    """Gives these losses."""

    def run(self, config: Config, directory: Path, waiting: Callable[[], None]) -> dict[str, Any]:
        answer = super().run(config, directory, waiting)
        return answer | {"summary": {"seconds": 1.0, "heldout": {"nll/assistant": loss(config)}}}


def run(made: Sweep, workdir: Path, runner: Any, workers: int = 1) -> tuple[ResultsFile, str]:
    workdir.mkdir(exist_ok=True)
    cells, results, text = expand(made), ResultsFile(workdir / "results.jsonl"), io.StringIO()
    waiting = unfinished(cells, results)
    console = Console(file=text, width=200)
    with Progress(console, len(cells), len(cells) - len(waiting), made.measures, workers=workers) as progress:
        run_cells(
            *(waiting, results, workdir, [runner.run] * workers, progress, made.keep_checkpoints),
            reason_to_leave=reason_to_leave(made, cells, results),
        )
    return results, text.getvalue()


def seeds_of(runner: CountingRunner, examples: int, policy: str = "it") -> list[int]:
    return [c.seed for c in runner.asked if (c.data.num_generated, c.loss.policy) == (examples + 8, policy)]


def test_settled_comparisons_run_no_more_seeds_and_open_ones_all(tmp_path: Path) -> None:
    made, runner = swept(), Noisy()
    results, told = run(made, tmp_path, runner)
    few, many = decisions(made, expand(made), results)
    assert few.settled is not None and few.settled.how is How.BELOW and many.settled is None
    pairs = few.settled.pairs
    assert 3 <= pairs < 8
    for policy in ("im", "it"):
        assert seeds_of(runner, 40, policy) == list(SEEDS[:pairs]) and seeds_of(runner, 80, policy) == list(
            SEEDS
        )
    first = f"left out: policy=im, examples=40, seed={pairs}: im minus it, examples=40 is settled after {pairs} pairs"
    assert f"{first}: below 0" in told
    again = Noisy()
    _, told = run(made, tmp_path, again)
    assert again.asked == [] and told.count("left out") == 2 * (8 - pairs)


def test_the_report_says_by_which_rule_and_what_was_left_out(tmp_path: Path) -> None:
    made = swept()
    results, _ = run(made, tmp_path, Noisy())
    few, many = decisions(made, expand(made), results)
    assert few.settled is not None
    left = 8 - few.settled.pairs
    write_report(made, checked_cells(made), results, tmp_path, "command")
    text = (tmp_path / "report.md").read_text()
    assert f"{2 * left} left out as their comparisons are settled, 0 not run yet" in text
    section = text.partition("## When comparisons were settled")[2]
    assert "from 3 pairs on, by `heldout.nll/assistant`" in section and "Lan and DeMets 1983" in section
    assert f"| below 0, after {few.settled.pairs} pairs |" in section and "| open " in section
    seeds = ", ".join(map(str, SEEDS[few.settled.pairs :]))
    assert f"| policy=it, examples=40 | {seeds} |" in section
    assert "Whether more seeds were run was decided by what was seen" in text
    assert len(many.seen) == 8

    text_of = io.StringIO()
    submitted = Submitted(tmp_path / "jobs.jsonl")
    sweep.show_cells(made, expand(made), results, submitted, None, Console(file=text_of, width=200))
    assert (
        text_of.getvalue().splitlines()[-1]
        == f"32 runs, {32 - 2 * left} finished, {2 * left} left out, 0 to run"
    )


def test_what_is_decided_depends_on_no_order_of_ends(tmp_path: Path) -> None:
    one, two = (run(swept(), tmp_path / str(n), Noisy(), workers=n)[0] for n in (1, 2))
    made = swept()
    settled = [[d.settled for d in decisions(made, expand(made), results)] for results in (one, two)]
    assert settled[0] == settled[1]
    cells = [cell for cell in expand(made) if cell.seed != 1]  # seed 1 has not ended
    results = ResultsFile(tmp_path / "gap.jsonl")
    for cell in cells:
        row = one.get(cell.hash) or two.get(cell.hash)
        if row:
            results.put(row)
    assert [len(d.seen) for d in decisions(made, expand(made), results)] == [1, 1]


def test_failed_runs_are_no_pairs(tmp_path: Path) -> None:
    made = swept()
    results, _ = run(made, tmp_path, Noisy(fails=lambda config: config.seed in (0, 2)))
    few, _ = decisions(made, expand(made), results)
    assert few.settled is not None and few.settled.pairs < 6
    assert not {cell.seed for cell in expand(made) if cell.hash in left_out(made, expand(made), results)} & {
        0,
        2,
    }


def test_a_run_of_several_comparisons_is_left_out_once_all_are_settled(tmp_path: Path) -> None:
    axes = {"policy": over("loss.policy", "im", "it", "all"), "examples": {"40": {"data.num_generated": 48}}}
    comparisons = (Comparison("policy", "im", "it"), Comparison("policy", "im", "all"))
    made, runner = swept(axes=axes, comparisons=comparisons, plot=None), Noisy()
    results, _ = run(made, tmp_path, runner)
    first, second = decisions(made, expand(made), results)
    assert first.settled is not None and second.settled is None
    assert len(seeds_of(runner, 40, "it")) == first.settled.pairs
    assert len(seeds_of(runner, 40, "im")) == len(seeds_of(runner, 40, "all")) == 8


def test_jobs_go_seed_by_seed_from_the_first_look_on(tmp_path: Path) -> None:
    made = swept()
    rounds = in_rounds(made, expand(made))
    assert [sorted({cell.seed for cell in part}) for part in rounds] == [[0, 1, 2], [3], [4], [5], [6], [7]]
    assert in_rounds(swept(stop=None), expand(made)) == [expand(made)]

    class Answering(StandIn):
        """Each job answers at once."""

        def submit(self, name: str, requests: Any) -> list[str]:
            numbers = super().submit(name, requests)
            for number, request in zip(numbers, requests, strict=True):
                cell = next(c for c in expand(made) if c.hash in request["workdir"])
                summary = {"seconds": 1.0, "heldout": {"nll/assistant": loss(cell.config)}}
                self.given[number] = ANSWER | {"summary": summary}
            return numbers

    queue, text = Answering(), io.StringIO()
    sweep.run_jobs(made, expand(made), tmp_path, Options(), queue, Console(file=text, width=200))
    results = ResultsFile(tmp_path / "results.jsonl")
    (few, _) = decisions(made, expand(made), results)
    assert few.settled is not None
    assert [len(part) for part in queue.submitted] == [12] + [4] * (few.settled.pairs - 3) + [2] * (
        8 - few.settled.pairs
    )
    assert "left out: policy=im, examples=40" in text.getvalue()


def test_a_sweep_that_does_not_stop_leaves_out_nothing(tmp_path: Path) -> None:
    made = swept(stop=None, seeds=(0, 1))
    results = ResultsFile(tmp_path / "results.jsonl")
    assert decisions(made, expand(made), results) == [] and left_out(made, expand(made), results) == {}
    write_report(made, expand(made), run(made, tmp_path, Noisy())[0], tmp_path, "command")
    assert "When comparisons were settled" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop": StopEarly("loss")}, "stop: loss is no measure"),
        ({"stop": StopEarly(LOSS.name, level=1)}, "stop: level=1: give a probability, such as 0.05"),
        ({"stop": StopEarly(LOSS.name, first=9)}, "stop: first=9: give 2 to 8 pairs, as many as seeds"),
        ({"stop": StopEarly(LOSS.name, margin=0)}, "stop: margin=0: give a difference above 0, or None"),
        ({"plot": None}, "stop: the sweep compares nothing; name settings in comparisons"),
        ({"stop": "early"}, "stop='early' is str; it must be StopEarly or None"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked_cells(swept(**changes))
    assert message in str(error.value)
