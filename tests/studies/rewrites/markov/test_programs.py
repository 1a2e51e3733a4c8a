"""Programs for a model to run: their rules, inputs and steps, each counted anew."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import pytest

from im_jax.config import RewritesConfig
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples import RewriteTask, make_tasks
from im_jax.studies.rewrites.markov import programs
from im_jax.studies.rewrites.markov.machine import Halt
from im_jax.studies.rewrites.markov.programs import BUCKETS, Run, bucket_of, draw_runs

SMALL = RewritesConfig(
    num_rules=300,
    num_examples=600,
    alphabet="abcdefgh",
    left_length=2,
    right_length=2,
    input_length=6,
    num_test_rules=30,
    num_test_examples=30,
    programs="random,sort",
    num_programs=80,
)
KINDS = pytest.mark.parametrize("kind", ["random", "sort"])


def small(**fields: Any) -> RewritesConfig:
    return dataclasses.replace(SMALL, **fields)


def task_of(config: RewritesConfig, seed: int = 0) -> RewriteTask:
    return make_tasks(config, seed)["train"]


def drawn(kind: str, seed: int = 0, **fields: Any) -> list[Run]:
    config = small(**fields)
    return draw_runs(kind, config, task_of(config, seed))


def training_rules(task: RewriteTask) -> set[tuple[str, str]]:
    sides = zip(task.rules.left, task.rules.right, strict=True)
    return {(task.text(left), task.text(right)) for left, right in sides}


def plain_steps(run: Run, limit: int = 1000) -> tuple[str, int]:
    """Text and steps by Python's own strings."""
    text = run.text
    for steps in range(limit):
        changed = [rule for rule in run.program.rules if rule.left in text]
        if not changed:
            return text, steps
        text = text.replace(changed[0].left, changed[0].right, 1)
    raise AssertionError("no end")


def test_rules_of_random_programs_are_unseen_and_change_a_text() -> None:
    config = small()
    task = task_of(config)
    runs = draw_runs("random", config, task)
    seen = training_rules(task)
    for run in runs:
        rules = [(rule.left, rule.right) for rule in run.program.rules]
        assert len(rules) == config.program_rules
        assert not {*rules} & seen
        assert len({left for left, _ in rules}) == len(rules)
        assert all(left != right and len(left) == len(right) == 2 for left, right in rules)
        assert len({*run.text, *"".join(left + right for left, right in rules)}) <= config.program_letters
        assert len(run.text) == config.input_length
    assert programs.share_seen(runs, task) == 0
    assert {letter for run in runs for letter in run.text} == {*config.alphabet}


@pytest.mark.parametrize("unseen", ["left", "right", "both"])
def test_they_share_no_more_with_training_than_test_rules_do(unseen: str) -> None:
    config = small(num_rules=20, num_test_rules=10, unseen=unseen)
    task = task_of(config)
    lefts, rights = ({*sides} for sides in zip(*training_rules(task), strict=True))
    rules = [rule for run in draw_runs("random", config, task) for rule in run.program.rules]
    assert unseen == "right" or not {rule.left for rule in rules} & lefts
    assert unseen == "left" or not {rule.right for rule in rules} & rights


def test_a_sorting_program_sorts_in_as_many_steps_as_letters_are_out_of_order() -> None:
    config = small(program_letters=4)
    task = task_of(config)
    runs = draw_runs("sort", config, task)
    orders = set()
    for run in runs:
        rules = run.program.rules
        assert len(rules) == 6
        # The letter that is on more right sides in front comes earlier.
        front = Counter(rule.right[0] for rule in rules)
        order = "".join(sorted({*"".join(rule.left for rule in rules)}, key=lambda x: -front[x]))
        assert all(rule.left == rule.right[::-1] for rule in rules)
        assert run.outcome.text == "".join(sorted(run.text, key=order.index))
        out_of_order = sum(order.index(a) > order.index(b) for a, b in itertools.combinations(run.text, 2))
        assert run.outcome.steps == out_of_order
        orders.add(order)
    assert any(order != "".join(sorted(order)) for order in orders)
    seen = training_rules(task)
    rules = [(rule.left, rule.right) for run in runs for rule in run.program.rules]
    share = sum(rule in seen for rule in rules) / len(rules)
    assert 0 < share < 1
    assert programs.share_seen(runs, task) == pytest.approx(share)


@KINDS
def test_every_run_ends_as_recorded_and_runs_differ(kind: str) -> None:
    runs = drawn(kind)
    assert len(runs) == len({(run.program, run.text) for run in runs}) == 80
    for run in runs:
        assert run.outcome.halt is Halt.BLOCKED and run.outcome.trace is not None
        assert plain_steps(run) == (run.outcome.text, run.outcome.steps)
        assert len(run.outcome.trace) == run.outcome.steps <= SMALL.step_limit


@KINDS
def test_numbers_of_steps_have_equal_shares(kind: str) -> None:
    groups = Counter(bucket_of(run.outcome.steps) for run in drawn(kind, num_programs=84))
    assert groups == dict(zip(BUCKETS, [11] * 4 + [10] * 4, strict=True))


def test_a_number_of_steps_that_there_is_not_leaves_its_share_to_the_others() -> None:
    # Two of one letter behind two of another: at most four pairs are out of order.
    groups = Counter(
        bucket_of(run.outcome.steps)
        for run in drawn("sort", input_length=4, program_letters=2, num_programs=60)
    )
    assert groups == {f"steps_{n}": 12 for n in range(5)}


def test_groups_hold_the_numbers_that_they_are_named_by() -> None:
    names = {0: "steps_0", 4: "steps_4", 5: "steps_5_6", 6: "steps_5_6", 7: "steps_7_9", 9: "steps_7_9"}
    names |= {10: "steps_10_up", 99: "steps_10_up"}
    assert {steps: bucket_of(steps) for steps in names} == names


@KINDS
def test_a_low_step_limit_leaves_out_what_takes_longer(kind: str) -> None:
    groups = Counter(run.outcome.steps for run in drawn(kind, step_limit=2, num_programs=30))
    assert groups == {0: 10, 1: 10, 2: 10}


@KINDS
def test_a_seed_gives_the_same_programs_and_another_seed_others(kind: str) -> None:
    one, same, other = (drawn(kind, seed, num_rules=1) for seed in (5, 5, 6))
    assert one == same
    assert len({(run.program, run.text) for run in [*one, *other]}) > 150


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"programs": "sort,bubble"}, "programs='sort,bubble': 'bubble' is not one of random, sort"),
        ({"right_length": 3}, "right_length=3: programs='random,sort' need strings that keep the length"),
        ({"right_length": 3}, "set it to left_length, 2, or programs to ''"),
        ({"program_letters": 9}, "program_letters=9: set it from 2 to 8, the size of the alphabet"),
        ({"program_letters": 1}, "program_letters=1: set it from 2 to 8"),
        ({"program_rules": 10}, "program_rules=10: there are only 9 left sides of 2 letters out of 3"),
        ({"left_length": 3, "right_length": 3}, "left_length=3: programs that sort have rules of 2 letters"),
        ({"num_programs": 0}, "num_programs=0 must be 1 or more"),
        ({"step_limit": 0}, "step_limit=0 must be 1 or more"),
        (
            {"alphabet": "abc", "num_rules": 65, "num_test_rules": 1, "program_rules": 9},
            "num_programs=80: found only 0 different random programs of unseen rules and inputs that end within",
        ),
        (
            {
                "alphabet": "ab",
                "program_letters": 2,
                "num_rules": 1,
                "num_test_rules": 1,
                "num_programs": 129,
                "programs": "sort",
            },
            "num_programs=129: found only 128 different sort programs and inputs",
        ),
        (
            {
                "left_length": 6,
                "right_length": 6,
                "programs": "random",
                "num_programs": 5,
                "program_letters": 8,
            },
            "none of the random programs takes a step: left sides of 6 letters out of program_letters=8 hardly",
        ),
    ],
)
def test_impossible_programs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        programs.check(small(**fields), 0)
    assert message in str(error.value)


def test_fields_of_programs_do_not_matter_where_none_are_run() -> None:
    programs.check(small(programs="", right_length=3, left_length=4, program_letters=20), 0)
