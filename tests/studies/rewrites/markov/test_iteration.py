"""A Markov machine made of single answers: with true ones it is the true machine, with others it fails as told."""

import random
from collections.abc import Callable, Sequence

import pytest

from im_jax.studies.rewrites.markov import machine, notation
from im_jax.studies.rewrites.markov.iteration import Failure, Query, Result, readable, remembering, run_all
from im_jax.studies.rewrites.markov.machine import Halt
from im_jax.studies.rewrites.markov.program import Program, Rule
from tests.studies.rewrites.markov.markov_programs import (
    APPEND_REVERSED,
    BINARY_TO_UNARY,
    BUSY_BEAVER,
    UNARY_PRODUCT,
)

CYCLE = Program([Rule("ab", "ba"), Rule("ba", "ab")])


def true_answers(queries: Sequence[Query]) -> list[str]:
    return [text.replace(left, right, 1) for left, right, text in queries]


def always(change: Callable[[Query], str]) -> Callable[[Sequence[Query]], list[str]]:
    return lambda queries: [change(query) for query in queries]


def random_program(source: random.Random) -> Program:
    """Rules of several lengths, some terminal, some with an empty side; none of them `x -> x`."""
    rules = []
    while len(rules) < source.randint(1, 4):
        left, right = ("".join(source.choices("abc", k=source.randint(0, 3))) for _ in range(2))
        if left != right:
            rules.append(Rule(left, right, terminal=source.random() < 0.1))
    return Program(rules)


@pytest.mark.parametrize("step_limit", [0, 1, 3, 12])
def test_with_true_answers_runs_are_those_of_the_machine(step_limit: int) -> None:
    source = random.Random(0)
    programs = [Program([]), *(random_program(source) for _ in range(300))]
    texts = ["".join(source.choices("abc", k=source.randint(0, 8))) for _ in programs]
    expected = [
        machine.run(program, text, step_limit=step_limit)
        for program, text in zip(programs, texts, strict=True)
    ]
    assert {outcome.halt for outcome in expected} == ({*Halt} if step_limit else {*Halt} - {Halt.TERMINAL})
    results = run_all(programs, texts, true_answers, step_limit=step_limit)
    assert results == [Result(outcome.text, outcome.steps, outcome.halt) for outcome in expected]


@pytest.mark.parametrize(
    ("program", "text", "steps"),
    [
        (APPEND_REVERSED, "abb", 11),
        (BINARY_TO_UNARY, "101", 8),
        (BUSY_BEAVER, "000000A000000", 13),
        (UNARY_PRODUCT, "|*||", 12),
    ],
    ids=["append reversed", "binary to unary", "busy beaver", "unary product"],
)
def test_programs_of_known_results_end_as_known(program: str, text: str, steps: int) -> None:
    parsed = notation.parse(program)
    (result,) = run_all([parsed], [text], true_answers, step_limit=20)
    assert result.steps == steps
    assert result.text == machine.run(parsed, text).text


def test_a_model_that_copies_ends_every_run_at_once() -> None:
    copying = always(lambda query: query.text)
    assert run_all([CYCLE], ["aab"], copying, step_limit=5) == [Result("aab", 0, Halt.BLOCKED)]


def test_the_first_rule_whose_answer_differs_has_applied_right_or_wrong() -> None:
    program = Program([Rule("cc", "ab"), Rule("ab", "ba")])
    # It takes the first rule to apply to any text with an a in front.
    wrong = always(lambda query: "bbb" if query.left == "cc" and query.text[0] == "a" else query.text)
    assert run_all([program], ["aab"], wrong, step_limit=5) == [Result("bbb", 1, Halt.BLOCKED)]


def test_another_occurrence_than_the_leftmost_is_another_run() -> None:
    def rightmost(query: Query) -> str:
        head, found, tail = query.text.rpartition(query.left)
        return head + query.right + tail if found else query.text

    program = Program([Rule("aa", "b")])
    assert run_all([program], ["aaa"], true_answers, step_limit=5)[0].text == "ba"
    assert run_all([program], ["aaa"], always(rightmost), step_limit=5)[0].text == "ab"


def test_a_run_that_goes_in_circles_is_cut_off_at_the_limit() -> None:
    for limit in (4, 5):
        (result,) = run_all([CYCLE], ["ab"], true_answers, step_limit=limit)
        assert result == Result("ab" if limit % 2 == 0 else "ba", limit, Halt.LIMIT)


def test_a_text_that_cannot_be_read_again_ends_its_run_alone() -> None:
    answers = {"aab": "aabb", "aba": "ab…", "abb": "bab"}
    apply = always(lambda query: answers.get(query.text, query.text))
    results = run_all([CYCLE] * 3, [*answers], apply, step_limit=5, failure=readable(3, "ab"))
    assert results == [
        Result("aabb", 1, Failure.LENGTH),
        Result("ab…", 1, Failure.LETTERS),
        Result("bab", 1, Halt.BLOCKED),
    ]


def test_what_no_run_goes_on_with_may_be_unreadable() -> None:
    # The second rule is not reached, as the first applies.
    apply = always(lambda query: "" if query.left == "ba" else query.text.replace("ab", "ba", 1))
    (result,) = run_all([CYCLE], ["ab"], apply, step_limit=1, failure=readable(2, "ab"))
    assert result == Result("ba", 1, Halt.LIMIT)


def test_all_that_still_run_are_asked_together_and_no_others() -> None:
    asked: list[list[str]] = []

    def apply(queries: Sequence[Query]) -> list[str]:
        asked.append([query.text for query in queries])
        return true_answers(queries)

    sort = Program([Rule("ba", "ab")])
    results = run_all([sort, sort, Program([])], ["bba", "aab", "bba"], apply, step_limit=9)
    assert [result.steps for result in results] == [2, 0, 0]
    assert asked == [["bba", "aab"], ["bab"], ["abb"]]
    assert run_all([], [], apply, step_limit=9) == []


def test_remembered_answers_are_asked_for_once() -> None:
    asked: list[Query] = []

    def apply(queries: Sequence[Query]) -> list[str]:
        asked.extend(queries)
        return true_answers(queries)

    once = remembering(apply)
    limit = 20
    results = run_all([CYCLE, CYCLE], ["ab", "ba"], once, step_limit=limit)
    assert results == run_all([CYCLE, CYCLE], ["ab", "ba"], true_answers, step_limit=limit)
    assert len(asked) == len({*asked}) == 4  # two rules on two texts
    assert once([]) == []
