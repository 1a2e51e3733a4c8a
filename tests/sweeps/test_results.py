"""results.jsonl keeps what it was given, whatever happens to it."""

import json
from pathlib import Path

import pytest

from im_jax.errors import ConfigError
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
        "evaluations": {},
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
    (message,) = damaged.damaged
    assert message.startswith(f"{path}:3 is damaged and left out: it is no JSON from character ")
    assert damaged.get("b") == row("b") and damaged.get("c") is None
    damaged.put(row("c"))
    assert ResultsFile(path).damaged == [] and len(ResultsFile(path)) == 3
    beside = path.with_name("results.jsonl.damaged").read_text()
    assert beside.startswith('{"labels": {"policy": "im"}, "seed": 3, "hash": "c"'), "nothing is thrown away"


GOOD = {"labels": {}, "seed": 0, "hash": "a", "status": "finished", "seconds": 1.0, "summary": {}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"step": 3}', "it has no labels, seed, hash, status, seconds"),
        (b"[]", "it is list, not an object"),
        (b"\xff\xfe", "byte 0 is no UTF-8"),
        (b"7" * 5000, "Exceeds the limit"),
        (b"[" * 100_000, "it is nested too deep"),
        (json.dumps(GOOD | {"hash": ["a"]}).encode(), "hash is list, not a text"),
        (json.dumps(GOOD | {"summary": 3}).encode(), "summary is int, not an object"),
        (json.dumps(GOOD | {"seconds": True}).encode(), "seconds is bool, not a number"),
        (json.dumps(GOOD | {"seconds": float("nan")}).encode(), "NaN is no number of JSON"),
        (json.dumps(GOOD).replace("1.0", "1e999").encode(), "1e999 is no number of JSON"),
        (json.dumps(GOOD | {"labels": {"policy": 3}}).encode(), "labels are not all texts"),
        (json.dumps(GOOD | {"status": "done"}).encode(), "status is 'done', neither finished nor failed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_of_another_kind_is_named_and_harms_no_other(line: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultsFile(path).put(row("b"))
    path.write_bytes(line + b"\n\n" + path.read_bytes())
    results = ResultsFile(path)
    (message,) = results.damaged
    assert message.startswith(f"{path}:1 is damaged and left out: {reason}")
    assert results.get("b") == row("b")
    results.put(row("c"))
    assert [result is not None for result in map(ResultsFile(path).get, "abc")] == [False, True, True]


def test_a_result_of_another_release_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(GOOD | {"host": "new"}) + "\n")
    results = ResultsFile(path)
    assert results.damaged == []
    assert results.get("a") == Result({}, 0, "a", Status.FINISHED, 1.0)


def test_a_file_that_cannot_be_read_is_a_mistake_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(ConfigError, match=r"results.jsonl cannot be read: Is a directory; choose another"):
        ResultsFile(tmp_path / "results.jsonl")


def test_nested_names_are_joined_by_dots() -> None:
    summary = {"step": 6, "policy": "im", "data": {"tokens": {"user": 3}}, "heldout": None}
    assert flat_summary(summary) == {"step": 6, "policy": "im", "data.tokens.user": 3, "heldout": None}
