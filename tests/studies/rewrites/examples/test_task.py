"""The invariants of rewrite tasks, each searched for and not taken from how they are made."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from im_jax.config import RewritesConfig
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples import Examples, RewriteTask, make_tasks
from im_jax.studies.rewrites.examples.allocation import counts, effective_number, shares
from im_jax.studies.rewrites.examples.inputs import plant

SMALL = RewritesConfig(
    num_rules=40,
    num_examples=600,
    alphabet="abcdefgh",
    left_length=3,
    right_length=4,
    input_length=20,
    num_test_rules=30,
    num_test_examples=200,
)


def small(**fields: Any) -> RewritesConfig:
    return dataclasses.replace(SMALL, **fields)


def everything(task: RewriteTask) -> Examples:
    return task.examples(np.arange(len(task)))


def texts(task: RewriteTask, examples: Examples) -> list[tuple[str, str, str, str]]:
    """Left, right, input and answer of each example."""
    return [
        (
            task.text(examples.left[i]),
            task.text(examples.right[i]),
            task.text(examples.input[i]),
            task.text(examples.answer[i, : examples.answer_length[i]]),
        )
        for i in range(len(examples.rule))
    ]


def overlapping_count(text: str, pattern: str) -> int:
    return sum(text.startswith(pattern, at) for at in range(len(text)))


CASES = {
    "basic": small(),
    "no-ops": small(no_op_fraction=0.4),
    "occurrences": small(occurrences="1,3,5", left_length=2),
    "overlapping sides": small(
        occurrences="2,7", left_length=2, input_length=20, alphabet="abc", num_rules=12, num_test_rules=20
    ),
    "deleting": small(right_length=0, no_op_fraction=0.2),
    "two letters": small(alphabet="ab", left_length=6, input_length=24, num_rules=20, no_op_fraction=0.5),
    "families": small(
        families="repeated,periodic,mirrored", k="2,4", left_length=4, num_rules=30, alphabet="abcdefghijkl"
    ),
    "full input": small(left_length=5, input_length=20, occurrences="4", alphabet="abcdefghijklmnop"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("part", ["train", "test", "train_rules"])
def test_answers_and_occurrences_are_those_of_python_strings(name: str, part: str) -> None:
    task = make_tasks(CASES[name], 0)[part]
    examples = everything(task)
    wanted = {0} if CASES[name].no_op_fraction == 1 else {int(n) for n in CASES[name].occurrences.split(",")}
    wanted |= {0} if CASES[name].no_op_fraction else set()
    for (left, right, text, answer), count in zip(
        texts(task, examples), examples.occurrences.tolist(), strict=True
    ):
        assert answer == text.replace(left, right, 1)
        assert overlapping_count(text, left) == count
        assert count in wanted
    assert set(examples.occurrences.tolist()) == wanted


def test_every_rule_has_exactly_its_share_of_the_examples() -> None:
    task = make_tasks(small(num_rules=40, num_examples=600), 0)["train"]
    rules = everything(task).rule
    assert np.bincount(rules, minlength=40).tolist() == [15] * 40
    # and so has every stretch of them, nearly
    assert np.bincount(rules[:80], minlength=40).tolist() == pytest.approx([2] * 40, abs=1)


@pytest.mark.parametrize("unseen", ["rule", "left", "right", "both"])
def test_test_rules_share_nothing_that_should_be_unseen(unseen: str) -> None:
    # 5^2 sides of each kind: far from enough to be different by chance
    config = small(
        alphabet="abcde", left_length=2, right_length=2, num_rules=15, num_test_rules=8, unseen=unseen
    )
    tasks = make_tasks(config, 1)
    train = set(zip(*_sides(tasks["train"]), strict=True))
    test = set(zip(*_sides(tasks["test"]), strict=True))
    assert len(train) == 15 and len(test) == 8
    assert not train & test
    for side, needs in enumerate([("left", "both"), ("right", "both")]):
        overlap = {rule[side] for rule in train} & {rule[side] for rule in test}
        assert (not overlap) if unseen in needs else True
    assert all(left != right for left, right in train | test)
    assert set(zip(*_sides(tasks["train_rules"]), strict=True)) == train


def _sides(task: RewriteTask) -> tuple[list[bytes], list[bytes]]:
    return [row.tobytes() for row in task.rules.left], [row.tobytes() for row in task.rules.right]


def test_new_inputs_of_training_rules_are_not_the_training_inputs() -> None:
    tasks = make_tasks(small(), 0)
    seen = {e[2] for e in texts(tasks["train"], everything(tasks["train"]))}
    fresh = {e[2] for e in texts(tasks["train_rules"], everything(tasks["train_rules"]))}
    assert not seen & fresh


def test_an_example_depends_on_its_number_alone() -> None:
    task = make_tasks(CASES["no-ops"], 3)["train"]
    whole = everything(task)
    some = np.array([599, 0, 17, 17, 300])
    for all_values, values in zip(whole, task.examples(some), strict=True):
        assert np.array_equal(all_values[some], values)


def test_a_seed_gives_the_same_task_and_another_seed_another() -> None:
    one, same, other = (everything(make_tasks(SMALL, seed)["train"]) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.input, other.input)


def test_more_rules_or_examples_keep_those_there_were() -> None:
    few, many = (make_tasks(small(num_rules=n), 0)["train"] for n in (10, 40))
    assert np.array_equal(few.rules.left, many.rules.left[:10])
    assert np.array_equal(few.rules.right, many.rules.right[:10])


def test_places_of_a_side_that_overlaps_itself_are_as_likely_as_among_all_strings() -> None:
    """`aa` twice among four letters: against all strings of two letters that have it just so often."""
    wanted = np.full(60_000, 2)
    patterns = np.zeros((len(wanted), 2), np.uint8)
    drawn, first = plant(patterns, wanted, np.arange(len(wanted)), length=6, letters=2, seed=0, stream=7)
    found = Counter("".join("ab"[letter] for letter in text) for text in drawn)
    for text in found:
        assert overlapping_count(text, "aa") == 2
    # Copies do not overlap, so of the strings that have two the ones with `aaa` are left out.
    possible = [
        "".join(text)
        for text in itertools.product("ab", repeat=6)
        if overlapping_count("".join(text), "aa") == 2 and "aaa" not in "".join(text)
    ]
    assert set(found) == set(possible)
    shares = np.array([found[text] for text in possible]) / len(wanted)
    np.testing.assert_allclose(shares, 1 / len(possible), rtol=0.1)
    assert first.tolist() == [text.index("aa") for text in map("".join, np.array(["a", "b"])[drawn])]


def test_no_ops_have_their_share_for_every_rule() -> None:
    task = make_tasks(small(num_rules=4, num_examples=8000, no_op_fraction=0.3), 0)["train"]
    examples = everything(task)
    for rule in range(4):
        share = np.mean(examples.occurrences[examples.rule == rule] == 0)
        assert share == pytest.approx(0.3, abs=0.04)  # 4 standard deviations of 2,000 draws


def test_letters_and_places_are_uniform() -> None:
    task = make_tasks(small(num_examples=20000, num_rules=2000, left_length=4), 0)["train"]
    examples = everything(task)
    frequency = np.bincount(examples.input.reshape(-1), minlength=8) / examples.input.size
    assert frequency == pytest.approx(np.full(8, 1 / 8), abs=0.005)
    first = [text.find(left) for left, _, text, _ in texts(task, examples)]
    places = np.bincount(first, minlength=17) / len(first)
    assert places == pytest.approx(np.full(17, 1 / 17), abs=0.01)


def test_kinds_are_dealt_out_evenly() -> None:
    task = make_tasks(CASES["families"], 0)["train"]
    assert [(kind.family, kind.k) for kind in task.kinds] == [
        (family, k) for family in ("repeated", "periodic", "mirrored") for k in (2, 4)
    ]
    assert np.bincount(task.rules.kinds).tolist() == [5] * 6
    for kind, left in zip(task.rules.kinds, task.rules.left, strict=True):
        assert len(set(left.tolist())) <= 4 // task.kinds[kind].k


@pytest.mark.parametrize("alpha", [2.0, 1.0, 0.5, 0.2, 0.03])
def test_the_effective_number_of_rules_is_that_of_the_density(alpha: float) -> None:
    measured = [effective_number(counts(shares("long_tail", 1000, alpha, seed), 10**7)) for seed in range(20)]
    assert np.mean(measured) == pytest.approx(1000 * alpha * (alpha + 2) / (alpha + 1) ** 2, rel=0.05)


@pytest.mark.parametrize("allocation", ["uniform", "long_tail", "long_tail_by_rank"])
@pytest.mark.parametrize("examples", [1, 999, 12345])
def test_counts_of_a_tail_add_up_and_follow_their_shares(allocation: str, examples: int) -> None:
    exact = shares(allocation, 300, 0.3, 0) * examples
    whole = counts(exact / examples, examples)
    assert whole.sum() == examples
    assert np.all(np.abs(whole - exact) < 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alphabet": "aab"}, "alphabet='aab': it must be two or more letters, each once"),
        ({"num_rules": 0}, "num_rules=0 must be 1 or more"),
        ({"left_length": 21}, "left_length=21: an input of 20 letters cannot hold it"),
        ({"no_op_fraction": 1.5}, "no_op_fraction=1.5 must be in [0, 1]"),
        ({"occurrences": "1,x"}, "occurrences='1,x': write whole numbers from 1 on, joined by commas"),
        ({"occurrences": "7"}, "input_length=20 has no room for 7 occurrences of a left side of 3 letters"),
        (
            {"occurrences": "6", "alphabet": "ab", "left_length": 3, "num_rules": 60},
            "6 occurrences of a left side of 3 letters, with a letter between any two where it overlaps itself; "
            "set it to 23 or more",
        ),
        (
            {"families": "mirror"},
            "families='mirror': 'mirror' is not one of free, repeated, periodic, mirrored; did you mean mirrored?",
        ),
        ({"families": "repeated", "k": "3"}, "k=3: right_length is 4, which it does not divide"),
        ({"alphabet": "ab", "left_length": 1, "right_length": 1}, "found only 2 of 40 different rules"),
        ({"alphabet": "ab", "left_length": 2, "num_rules": 9}, "no oftener; use a larger alphabet"),
        ({"allocation": "tail"}, "allocation='tail' is not one of uniform, long_tail"),
        ({"alpha": 0.0}, "alpha=0.0 must be in (0, inf)"),
    ],
)
def test_impossible_tasks_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        everything(make_tasks(small(**fields), 0)["train"])
    assert message in str(error.value)
