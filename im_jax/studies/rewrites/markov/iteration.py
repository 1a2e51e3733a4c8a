"""A Markov machine made of something that applies one rule, such as a model: many runs at once.

In each step, what applies rules is asked for every rule of a run's program on the run's text, in order. The
first rule whose answer differs from the text has applied, and its answer is the next text; where none
differs, the run has ended. With true answers this is the machine of `machine.py`, but for rules that change
nothing, `x -> x`, with which that never ends.
"""

import enum
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from im_jax.studies.rewrites.markov.machine import Halt
from im_jax.studies.rewrites.markov.program import Program


class Query(NamedTuple):
    """One rule and one text, to be answered by the text after the rule."""

    left: str
    right: str
    text: str


Apply = Callable[[Sequence[Query]], Sequence[str]]
"""An answer to each query, in order."""


class Failure(enum.StrEnum):
    """Why a run could not go on: its text is none that what applies rules can be asked about."""

    LENGTH = "length"
    """An answer is longer or shorter than all texts are."""
    LETTERS = "letters"
    """An answer of the right length has something in it that is no letter."""


class Result(NamedTuple):
    """How a run went."""

    text: str
    """The last one; of a failure, the answer that is no text."""
    steps: int
    """Rules applied, one that failed included."""
    halt: Halt | Failure


def readable(length: int, alphabet: str) -> Callable[[str], Failure | None]:
    """What is wrong with an answer as a text of `length` letters of an alphabet; None: nothing."""
    letters = set(alphabet)

    def failure(text: str) -> Failure | None:
        if len(text) != length:
            return Failure.LENGTH
        return None if letters.issuperset(text) else Failure.LETTERS

    return failure


def run_all(
    programs: Sequence[Program],
    texts: Sequence[str],
    apply: Apply,
    *,
    step_limit: int,
    failure: Callable[[str], Failure | None] = lambda _: None,
) -> list[Result]:
    """Run each program on its text, all together: one call of `apply` for a step of all that still run.

    Args:
        programs: of each run.
        texts: its input.
        apply: is asked at most `step_limit + 1` times; never for nothing.
        step_limit: most rewrites of a run. A run that ends in exactly so many has ended, and is not cut off.
        failure: what is wrong with an answer that is to be the next text.
    """
    results: dict[int, Result] = {}
    running = dict(enumerate(texts))
    for steps in range(step_limit + 1):
        answered = _ask(programs, running, apply)
        for number, text in list(running.items()):
            rules = programs[number].rules
            answers = zip(rules, answered[number], strict=True)
            applied = next(((rule, answer) for rule, answer in answers if answer != text), None)
            if applied is None:
                results[number] = Result(text, steps, Halt.BLOCKED)
            elif steps == step_limit:
                results[number] = Result(text, steps, Halt.LIMIT)
            elif applied[0].terminal:
                results[number] = Result(applied[1], steps + 1, Halt.TERMINAL)
            elif wrong := failure(applied[1]):
                results[number] = Result(applied[1], steps + 1, wrong)
            else:
                running[number] = applied[1]
            if number in results:
                del running[number]
        if not running:
            break
    return [results[number] for number in range(len(texts))]


def _ask(programs: Sequence[Program], running: dict[int, str], apply: Apply) -> dict[int, list[str]]:
    """The text of each run after each rule of its program."""
    queries = [
        Query(rule.left, rule.right, text)
        for number, text in running.items()
        for rule in programs[number].rules
    ]
    answers = iter(apply(queries) if queries else ())
    return {number: list(itertools.islice(answers, len(programs[number].rules))) for number in running}


def remembering(apply: Apply) -> Apply:
    """The same answers, where each query is asked once: a run that goes in circles costs nothing more."""
    known: dict[Query, str] = {}

    def ask(queries: Sequence[Query]) -> list[str]:
        new = [query for query in dict.fromkeys(queries) if query not in known]
        if new:
            known.update(zip(new, apply(new), strict=True))
        return [known[query] for query in queries]

    return ask
