"""results.jsonl keeps what it was given, whatever happens to it."""

import json
from pathlib import Path

from im_jax.sweeps.results import Result, ResultsFile, Status, flat_summary


def row(config_hash: str, status: Status = Status.FINISHED, loss: float = 0.1) -> Result:
    machine = {"device": "cpu", "versions": {"jax": "1"}}
    return Result({"policy": "im"}, 3, config_hash, status, 2.5, "", machine, {"heldout.loss": loss})


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultsFile(path)
    rows = [row("a", loss=0.1 + 0.2), row("b", Status.FAILED)]
    for each in rows:
        results.put(each)
    again = ResultsFile(path)
    assert [again.get("a"), again.get("b"), again.get("c")] == [*rows, None]
    assert again.damaged == []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {
        "labels": {"policy": "im"},
        "seed": 3,
        "hash": "a",
        "status": "finished",
        "seconds": 2.5,
        "error": "",
        "machine": {"device": "cpu", "versions": {"jax": "1"}},
        "summary": {"heldout.loss": 0.30000000000000004},
    }


def test_a_run_has_one_row_the_latest(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.jsonl")
    results.put(row("a", Status.FAILED))
    results.put(row("a", loss=4.0))
    again = ResultsFile(tmp_path / "results.jsonl")
    assert len(again) == 1 and again.get("a") == row("a", loss=4.0)


def test_a_line_that_was_cut_off_is_reported_and_costs_no_other_row(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultsFile(path)
    for name in "abc":
        results.put(row(name))
    path.write_bytes(path.read_bytes()[:-40])
    damaged = ResultsFile(path)
    assert damaged.damaged == [f"{path}:3 is damaged and left out"]
    assert damaged.get("b") == row("b") and damaged.get("c") is None
    damaged.put(row("c"))
    assert ResultsFile(path).damaged == [] and len(ResultsFile(path)) == 3


def test_lines_of_another_kind_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"step": 3}\n[]\n\xff\xfe\n')
    assert len(ResultsFile(path).damaged) == 3


def test_nested_names_are_joined_by_dots() -> None:
    summary = {"step": 6, "policy": "im", "data": {"tokens": {"user": 3}}, "heldout": None}
    assert flat_summary(summary) == {"step": 6, "policy": "im", "data.tokens.user": 3, "heldout": None}
