"""What an earlier release finished is not run again."""

import json
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config, config_hash, with_overrides
from im_jax.sweeps.cells import Cell
from im_jax.sweeps.earlier import adopt, known_again
from im_jax.sweeps.results import Result, ResultsFile, Status
from im_jax.sweeps.running import unfinished

HASH = "ffd21973"
"""What the release before records of fields gave to the configuration that `cell` makes."""
CONFIG = Path(__file__).with_name("config_before_records.json")
"""What that release wrote in the run's directory: open fields (vocabulary) filled in."""


def cell(**changes: Any) -> Cell:
    overrides = {
        "loss.policy": "im",
        "train.steps": 6,
        "optimizer.learning_rate": 1,
        "data.num_generated": 48,
        "seed": 3,
    }
    config = with_overrides(Config(), overrides | changes)
    return Cell({"policy": "im"}, 3, config, config_hash(config))


@pytest.fixture
def results(tmp_path: Path) -> ResultsFile:
    """A sweep of that release with one run."""
    directory = tmp_path / "runs" / f"im-seed3-{HASH}"
    directory.mkdir(parents=True)
    (directory / "config.json").write_bytes(CONFIG.read_bytes())
    (directory / "log.txt").write_text("step 6/6\n")
    results = ResultsFile(tmp_path / "results.jsonl")
    results.put(Result({"policy": "im"}, 3, HASH, Status.FINISHED, 9.0, summary={"step": 6}))
    return results


def test_a_run_of_an_earlier_release_is_known_again(results: ResultsFile, tmp_path: Path) -> None:
    assert unfinished([cell()], results) == [cell()]
    known_again([cell()], results, tmp_path)
    assert unfinished([cell()], results) == []
    assert json.loads((tmp_path / "results.jsonl").read_text())["hash"] == HASH, "looking writes nothing"

    adopt([cell()], ResultsFile(tmp_path / "results.jsonl"), tmp_path)
    again = ResultsFile(tmp_path / "results.jsonl").get(cell().hash)
    assert again is not None and (again.seconds, again.summary) == (9.0, {"step": 6})
    assert (cell().directory(tmp_path) / "log.txt").is_file()
    adopt([cell()], ResultsFile(tmp_path / "results.jsonl"), tmp_path)
    assert len(ResultsFile(tmp_path / "results.jsonl")) == 1


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"optimizer.learning_rate": 2.0}, {"data.num_generated": 49}]
)
def test_another_run_is_not_taken_for_it(
    changes: dict[str, Any], results: ResultsFile, tmp_path: Path
) -> None:
    adopt([cell(**changes)], results, tmp_path)
    assert unfinished([cell(**changes)], results) == [cell(**changes)]
    assert results.get(HASH) is not None


@pytest.mark.parametrize("text", ["[]", "{", '{"a":' * 100_000, "\ud800"])
def test_a_directory_without_its_configuration_is_left_alone(
    text: str, results: ResultsFile, tmp_path: Path
) -> None:
    (tmp_path / "runs" / f"im-seed3-{HASH}" / "config.json").write_text(text, "utf-8", "surrogatepass")
    known_again([cell()], results, tmp_path)
    assert unfinished([cell()], results) == [cell()]


def test_a_field_that_is_new_and_decides_makes_it_another_run(results: ResultsFile, tmp_path: Path) -> None:
    """As if `data.num_generated` had come later, with another value than the default."""
    path = tmp_path / "runs" / f"im-seed3-{HASH}" / "config.json"
    fields = json.loads(path.read_text())
    del fields["data"]["num_generated"]
    path.write_text(json.dumps(fields))
    known_again([cell()], results, tmp_path)
    assert unfinished([cell()], results) == [cell()]
