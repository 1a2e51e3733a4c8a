"""Markov programs for a model to run: drawn with an input each, and run by the true machine.

All are over a few letters, others for each program, and keep the length of a text:

    random   ca -> bb, ab -> bc, bb -> ac   rules that training has not; an input of random letters
    sort     ba -> ab, ca -> ac, cb -> bc   one rule for every two letters, in an order drawn at random: here
                                            a b c. It takes a step for every two letters out of order.

Only runs that end are kept, equally many of each number of steps as far as there are any.
"""

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import jaxtyping as jt
import numpy as np

from im_jax.config import RewritesConfig
from im_jax.config.rewrites_checks import programs_of
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.examples import RewriteTask, make_tasks
from im_jax.studies.rewrites.examples.random_access import below, draw
from im_jax.studies.rewrites.examples.rules import Taken
from im_jax.studies.rewrites.markov import machine
from im_jax.studies.rewrites.markov.program import Program, Rule

BUCKETS: Final = {
    "steps_0": 0,
    "steps_1": 1,
    "steps_2": 2,
    "steps_3": 3,
    "steps_4": 4,
    "steps_5_6": 5,
    "steps_7_9": 7,
    "steps_10_up": 10,
}
"""Groups of runs by number of steps, and the least that each holds; it ends where the next begins."""

_STREAMS: Final = {"random": 40_000, "sort": 41_000}
"""Numbers of the seed's sequences; those of `im_jax.studies.rewrites.examples.task` are lower."""
_BLOCK: Final = 1000
"""Programs that are drawn at a time."""
_MOST_DRAWN: Final = 50
"""Programs drawn for each that is wanted, before what was found is all that there is."""
_RULES_DRAWN: Final = 64
"""Rules drawn for a program, of which it takes the first that it can have."""


class Run(NamedTuple):
    """A program, its input, and what the true machine makes of it."""

    program: Program
    text: str
    outcome: machine.Outcome
    """Halted, no rule being terminal because none applies; with its trace."""


def check(config: RewritesConfig, seed: int) -> None:
    """Stop if programs are wanted that cannot be drawn: better before training than after it.

    Raises:
        ConfigError: as `draw_runs`.
    """
    if kinds := programs_of(config.programs):
        task = make_tasks(config, seed)["train"]
        for kind in kinds:
            draw_runs(kind, config, task)


def bucket_of(steps: int) -> str:
    """Name of the group that a number of steps, at least 0, belongs to."""
    return [name for name, least in BUCKETS.items() if least <= steps][-1]


def draw_runs(kind: str, config: RewritesConfig, task: RewriteTask) -> list[Run]:
    """`config.num_programs` different runs, from the shortest group to the longest and again.

    Args:
        kind: of the programs, one of `im_jax.config.rewrites.PROGRAMS`.
        config: checked fields of the rewrite task.
        task: its training task, for alphabet, seed, and the rules that `random` programs do not have.

    Raises:
        ConfigError: there are not so many, or none takes a step.
    """
    groups: dict[str, list[Run]] = {name: [] for name, least in BUCKETS.items() if least <= config.step_limit}
    enough = -(-config.num_programs // len(groups))
    taken = Taken(task.rules, config.unseen)
    known: set[tuple[Program, str]] = set()
    for start in range(0, _MOST_DRAWN * config.num_programs, _BLOCK):
        for program, text in _candidates(kind, config, task, np.arange(start, start + _BLOCK), taken):
            if (program, text) in known:
                continue
            known.add((program, text))
            outcome = machine.run(program, text, step_limit=config.step_limit, trace=True)
            if outcome.halt is machine.Halt.BLOCKED:
                groups[bucket_of(outcome.steps)].append(Run(program, text, outcome))
        if all(len(runs) >= enough for runs in groups.values()):
            break
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    runs = [run for run in in_turn if run is not None][: config.num_programs]
    _check_found(kind, config, runs)
    return runs


def share_seen(runs: list[Run], task: RewriteTask) -> float:
    """Share of the runs' rules that are rules of a task."""
    seen = Taken(task.rules, "rule")
    number = {letter: at for at, letter in enumerate(task.alphabet)}
    rules = [
        tuple(bytes(number[letter] for letter in side) for side in (rule.left, rule.right))
        for run in runs
        for rule in run.program.rules
    ]
    return sum(seen.has(left, right) for left, right in rules) / len(rules)


def _check_found(kind: str, config: RewritesConfig, runs: list[Run]) -> None:
    if len(runs) < config.num_programs:
        new, fewer = (" of unseen rules", ", lower num_rules") if kind == "random" else ("", "")
        raise ConfigError(
            f"data.rewrites.num_programs={config.num_programs}: found only {len(runs)} different {kind} "
            f"programs{new} and inputs that end within step_limit={config.step_limit} steps; ask for "
            f"fewer{fewer}, or raise step_limit or program_letters"
        )
    if not any(run.outcome.steps for run in runs):
        raise ConfigError(
            f"data.rewrites.programs: none of the {kind} programs takes a step: left sides of "
            f"{config.left_length} letters out of program_letters={config.program_letters} hardly occur in "
            f"inputs of {config.input_length}; set a lower left_length and right_length, or leave {kind} out"
        )


def _candidates(
    kind: str, config: RewritesConfig, task: RewriteTask, items: jt.Int64[np.ndarray, " E"], taken: Taken
) -> Iterator[tuple[Program, str]]:
    """The programs with these numbers, and their inputs; those for which no rules were found are left out."""
    alphabet, length = len(task.alphabet), task.input_length
    sides = (task.left_length + task.right_length) * (_RULES_DRAWN if kind == "random" else 0)
    numbers = draw(task.seed, _STREAMS[kind], items, alphabet + length + sides)
    letters = np.argsort(numbers[:, :alphabet], axis=1, kind="stable")[:, : config.program_letters]
    chosen = below(numbers[:, alphabet:], config.program_letters)
    drawn = np.take_along_axis(letters, chosen, axis=1).astype(np.uint8)
    names = dict(enumerate(task.alphabet))
    for row, own in zip(drawn, letters.astype(np.uint8), strict=True):
        if kind == "sort":
            program = _sorting(_named(own.tobytes(), names))
        else:
            rules = _new_rules(row[length:].tobytes(), task, config.program_rules, taken)
            if len(rules) < config.program_rules:
                continue
            program = Program([Rule(_named(left, names), _named(right, names)) for left, right in rules])
        yield program, _named(row[:length].tobytes(), names)


def _named(letters: bytes, names: dict[int, str]) -> str:
    """Letter numbers as a string."""
    return letters.decode("latin-1").translate(names)


def _sorting(letters: str) -> Program:
    return Program([Rule(b + a, a + b) for a, b in itertools.combinations(letters, 2)])


def _new_rules(sides: bytes, task: RewriteTask, count: int, taken: Taken) -> list[tuple[bytes, bytes]]:
    """The first `count` rules, or fewer, that are not `x -> x`, not taken, and differ in their left sides."""
    rules: dict[bytes, bytes] = {}
    for start in range(0, len(sides), width := task.left_length + task.right_length):
        left = sides[start : start + task.left_length]
        right = sides[start + task.left_length : start + width]
        if left != right and left not in rules and not taken.has(left, right):
            rules[left] = right
        if len(rules) == count:
            break
    return list(rules.items())
