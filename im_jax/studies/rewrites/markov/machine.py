"""Run a Markov algorithm: the first rule that occurs, at its leftmost place, again and again.

Occurrences may overlap: `aba -> x` makes `xba` of `ababa`, and the second `aba` is gone. An empty left side
occurs in every text, at position 0.
"""

import enum
from dataclasses import dataclass
from typing import Final

from im_jax.errors import ConfigError, DataError
from im_jax.studies.rewrites.markov.program import Program, Rule

STEP_LIMIT: Final = 10_000
MAX_CHARACTERS: Final = 10_000_000


class Halt(enum.StrEnum):
    """Why a run ended."""

    TERMINAL = "terminal"
    """A terminal rule was applied."""
    BLOCKED = "blocked"
    """No rule occurs in the text: a normal end."""
    LIMIT = "limit"
    """As many steps as allowed were taken, and a rule still occurs: the program has not ended."""


@dataclass(frozen=True)
class Step:
    """One rewrite: which rule (counted from 0), where its left side began, and the text after it."""

    rule_index: int
    rule: Rule
    position: int
    text: str


@dataclass(frozen=True)
class Outcome:
    """The last text, how many rewrites made it, why there were no more, and each of them if asked for."""

    text: str
    steps: int
    halt: Halt
    trace: tuple[Step, ...] | None = None


def take_step(program: Program, text: str) -> Step | None:
    """The one rewrite that a program makes of a text; None if no rule occurs in it."""
    for index, rule in enumerate(program.rules):
        at = text.find(rule.left)
        if at >= 0:
            return Step(index, rule, at, text[:at] + rule.right + text[at + len(rule.left) :])
    return None


def run(
    program: Program,
    text: str,
    *,
    step_limit: int = STEP_LIMIT,
    max_characters: int = MAX_CHARACTERS,
    trace: bool = False,
) -> Outcome:
    """Rewrite a text until the program halts or the limit is reached.

    A program that has halted is never reported as cut off: if the last step allowed was terminal the outcome
    is `TERMINAL`, and if no rule occurs after it, `BLOCKED`. `LIMIT` means that there was more to do. With a
    limit of 0 nothing is rewritten.

    Args:
        step_limit: most rewrites to make, 0 or more.
        max_characters: most characters to hold: those of the text or, with a trace, of every text so far.
        trace: whether to keep every step.

    Raises:
        ConfigError: `step_limit` or `max_characters` is negative.
        DataError: there are more characters to hold than `max_characters`; nothing is ever cut short.
    """
    for name, limit in (("step_limit", step_limit), ("max_characters", max_characters)):
        if limit < 0:
            raise ConfigError(f"{name} is {limit}; set it to 0 or more")
    kept: list[Step] = []
    steps, held, halt = 0, len(text), Halt.BLOCKED
    _check_size(steps, held, max_characters)
    while (step := take_step(program, text)) is not None:
        if steps >= step_limit:
            halt = Halt.LIMIT
            break
        text, steps = step.text, steps + 1
        if trace:
            kept.append(step)
        held = held + len(text) if trace else len(text)
        _check_size(steps, held, max_characters)
        if step.rule.terminal:
            halt = Halt.TERMINAL
            break
    return Outcome(text, steps, halt, tuple(kept) if trace else None)


def _check_size(steps: int, held: int, max_characters: int) -> None:
    if held > max_characters:
        raise DataError(
            f"after {steps} steps there are {held} characters to hold, more than max_characters="
            f"{max_characters}; raise it, set a lower step_limit, or keep no trace"
        )
