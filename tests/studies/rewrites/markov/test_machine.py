"""Markov algorithms: known programs, and an interpreter of its own kind beside ours."""

import itertools
import random

import pytest

from im_jax.errors import ConfigError, DataError
from im_jax.studies.rewrites.markov import notation
from im_jax.studies.rewrites.markov.machine import Halt, run, take_step
from im_jax.studies.rewrites.markov.program import Program, Rule
from tests.studies.rewrites.markov.markov_programs import (
    APPEND_REVERSED,
    BINARY_TO_UNARY,
    BUSY_BEAVER,
    UNARY_PRODUCT,
    random_text,
)


def outcome(program: str, text: str, limit: int = 10_000) -> tuple[str, int, str]:
    result = run(notation.parse(program), text, step_limit=limit)
    return result.text, result.steps, str(result.halt)


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        (APPEND_REVERSED, "abb", ("abbbba", 11, "terminal")),
        (BINARY_TO_UNARY, "101", ("|||||", 8, "blocked")),
        (BUSY_BEAVER, "000000A000000", ("00011H1111000", 13, "blocked")),
        (UNARY_PRODUCT, "|*||", ("||", 12, "terminal")),
    ],
    ids=["append reversed", "binary to unary", "busy beaver", "unary product"],
)
def test_markov_programs_give_their_known_texts_steps_and_halts(
    program: str, text: str, expected: tuple[str, int, str]
) -> None:
    assert outcome(program, text) == expected


def test_every_short_word_is_followed_by_its_reverse_in_the_number_of_steps_of_the_formula() -> None:
    for n in range(6):
        for word in map("".join, itertools.product("ab", repeat=n)):
            expected = (word + word[::-1], n * (n + 3) // 2 + 2, "terminal")
            assert outcome(APPEND_REVERSED, word) == expected


def test_unary_product_multiplies() -> None:
    for m, n in itertools.product(range(6), repeat=2):
        text, _, halt = outcome(UNARY_PRODUCT, "|" * m + "*" + "|" * n)
        assert (text, halt) == ("|" * (m * n), "terminal")


def test_binary_numbers_become_unary() -> None:
    for number in range(16):
        for digits in (f"{number:b}", f"{number:04b}"):
            text, _, halt = outcome(BINARY_TO_UNARY, digits)
            assert (text, halt) == ("|" * int(digits, 2), "blocked")


def test_one_rule_replaces_once_as_python_does() -> None:
    rng = random.Random(0)
    absent = 0
    for _ in range(3000):
        x, y, z = (random_text(rng, "ab", longest) for longest in (3, 3, 10))
        result = run(Program([Rule(x, y, terminal=True)]), z)
        assert result.text == z.replace(x, y, 1)
        assert result.halt == (Halt.TERMINAL if x in z else Halt.BLOCKED)
        absent += x not in z
    assert 300 < absent < 2700  # both kinds were tried


def interpret(rules: list[tuple[str, str, bool]], text: str, limit: int) -> tuple[str, int, str]:
    """A Markov algorithm spelt out over lists of characters, with no string search; deliberately naive."""
    tape, done = list(text), 0
    while True:
        places = (
            (list(left), list(right), ends, at)
            for left, right, ends in rules
            for at in range(len(tape) + 1)
            if all(at + k < len(tape) and tape[at + k] == left[k] for k in range(len(left)))
        )
        place = next(places, None)
        if place is None:
            return "".join(tape), done, "blocked"
        if done == limit:
            return "".join(tape), done, "limit"
        left, right, ends, at = place
        tape[at : at + len(left)] = right
        done += 1
        if ends:
            return "".join(tape), done, "terminal"


def test_random_programs_run_as_a_naive_interpreter_runs_them() -> None:
    rng = random.Random(1)
    seen = dict.fromkeys(("terminal", "blocked", "limit"), 0)
    for _ in range(3000):
        rules = [
            (random_text(rng, "abc", 3), random_text(rng, "abc", 3), rng.random() < 0.2)
            for _ in range(rng.randint(0, 5))
        ]
        text, limit = random_text(rng, "abc", 8), rng.randint(0, 25)
        result = run(Program([Rule(*rule) for rule in rules]), text, step_limit=limit)
        assert (result.text, result.steps, str(result.halt)) == interpret(rules, text, limit)
        seen[result.halt] += 1
    assert min(seen.values()) > 300  # every way to end was tried


def test_overlapping_occurrences_are_taken_from_the_left() -> None:
    assert outcome("aa→b", "aaa") == ("ba", 1, "blocked")
    assert outcome("aba→x", "ababa") == ("xba", 1, "blocked")


def test_an_earlier_rule_wins_over_an_earlier_place() -> None:
    assert outcome("b → 1\na → 2", "ab", limit=1) == ("a1", 1, "limit")


def test_empty_sides_delete_and_insert_at_the_front() -> None:
    assert outcome("a ->", "banana") == ("bnn", 3, "blocked")
    assert outcome("-> . x", "ab") == ("xab", 1, "terminal")
    assert outcome("-> . x", "") == ("x", 1, "terminal")
    assert outcome("-> .", "ab") == ("ab", 1, "terminal")
    assert outcome("->", "ab", limit=7) == ("ab", 7, "limit")


def test_a_program_without_rules_is_blocked_at_once() -> None:
    assert outcome("", "ab") == ("ab", 0, "blocked")


# Limits


@pytest.mark.parametrize(
    ("program", "limit", "expected"),
    [
        ("a→b", 0, ("aa", 0, "limit")),
        ("a→b", 1, ("ba", 1, "limit")),
        ("a→b", 2, ("bb", 2, "blocked")),
        ("a→b", 3, ("bb", 2, "blocked")),
        ("x→y", 0, ("aa", 0, "blocked")),
        ("a→·b", 0, ("aa", 0, "limit")),
        ("a→·b", 1, ("ba", 1, "terminal")),
        ("→a", 3, ("aaaaa", 3, "limit")),
    ],
)
def test_the_limit_is_reported_only_if_there_was_more_to_do(
    program: str, limit: int, expected: tuple[str, int, str]
) -> None:
    assert outcome(program, "aa", limit) == expected


@pytest.mark.parametrize("name", ["step_limit", "max_characters"])
def test_negative_limits_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is -1; set it to 0 or more"):
        run(Program([]), "", **{name: -1})


def test_text_that_outgrows_its_limit_is_an_error_and_never_cut() -> None:
    doubling = Program([Rule("a", "aa")])
    assert len(run(doubling, "a", step_limit=99, max_characters=100).text) == 100
    with pytest.raises(DataError, match=r"after 100 steps there are 101 characters .* max_characters=100"):
        run(doubling, "a", step_limit=100, max_characters=100)
    with pytest.raises(DataError, match="after 0 steps there are 3 characters"):
        run(Program([]), "abc", max_characters=2)


def test_a_trace_counts_every_text_that_it_keeps() -> None:
    swap = Program([Rule("a", "b"), Rule("b", "a")])
    assert run(swap, "a", step_limit=50, max_characters=10).steps == 50
    with pytest.raises(DataError, match=r"after 10 steps there are 11 characters .*keep no trace"):
        run(swap, "a", step_limit=50, max_characters=10, trace=True)


def test_a_trace_leads_from_the_input_to_the_result() -> None:
    program = notation.parse(APPEND_REVERSED)
    result = run(program, "abb", trace=True)
    assert result.trace is not None and len(result.trace) == result.steps
    text = "abb"
    for step in result.trace:
        assert step == take_step(program, text)
        assert step.rule is program.rules[step.rule_index]
        left, right = text[: step.position], text[step.position + len(step.rule.left) :]
        assert left + step.rule.left + right == text and left + step.rule.right + right == step.text
        text = step.text
    assert text == result.text
    assert [step.rule.terminal for step in result.trace] == [False] * 10 + [True]
    assert run(program, "abb").trace is None
