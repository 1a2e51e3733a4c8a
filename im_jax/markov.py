"""Run a Markov algorithm: the first rule x -> y whose x occurs rewrites the leftmost x, until none does.

    python -m im_jax.markov --program=FILE --input=TEXT [--step_limit=10000] [--trace]
        [--format=text|json] [--max_characters=10000000]

FILE has one rule a line: LEFT -> RIGHT, or LEFT -> . RIGHT for a rule that ends the run; # begins a comment.
docs/markov.md describes the notation. The exit code is 0 if the program halted, 3 if it had not by the step
limit, and 2 for a mistake in what was given.
"""

import pathlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import print_json, print_text
from im_jax.errors import ConfigError
from im_jax.studies.rewrites.markov import machine, notation
from im_jax.studies.rewrites.markov.machine import Halt, Outcome

EXIT_CODES: Final = MappingProxyType({Halt.TERMINAL: 0, Halt.BLOCKED: 0, Halt.LIMIT: 3})
"""By how a run ended. 1 is left to a Python that fails, and 2 to mistakes in what was given."""
_MEANINGS: Final = MappingProxyType(
    {
        Halt.TERMINAL: "a terminal rule was applied",
        Halt.BLOCKED: "no rule applies",
        Halt.LIMIT: "not halted; raise --step_limit to go on",
    }
)


class Options(NamedTuple):
    """A checked command line."""

    program: pathlib.Path
    input: str
    step_limit: int
    max_characters: int
    trace: bool
    format: str


def main(argv: Sequence[str]) -> int:
    """Run what a command line (program name first) asks for, print the outcome, and give the exit code."""
    options = parse(argv)
    outcome = machine.run(
        notation.read(options.program),
        options.input,
        step_limit=options.step_limit,
        max_characters=options.max_characters,
        trace=options.trace,
    )
    if options.format == "json":
        print_json(as_record(outcome))
    else:
        print_text(as_text(outcome))
    return EXIT_CODES[outcome.halt]


def parse(argv: Sequence[str]) -> Options:
    """Options of a command line (program name first).

    Raises:
        ConfigError: naming what is wrong and what could stand there.
    """
    values = read_flags(argv, define_flags)
    given: dict[str, Any] = {name: values[name].value for name in Options._fields}
    if not given["program"]:
        raise ConfigError("no program given; set --program=FILE, a text file with one rule a line")
    if given["input"] is None:
        raise ConfigError("no input given; set --input=TEXT, or --input= for the empty text")
    try:
        given["input"].encode()
    except UnicodeEncodeError as error:
        raise ConfigError("--input is not UTF-8 text; encode it as UTF-8") from error
    return Options(**given | {"program": pathlib.Path(given["program"])})


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("program", None, "File of rules, one a line.", flag_values=values)
    flags.DEFINE_string("input", None, "Text to rewrite; may be empty.", flag_values=values)
    flags.DEFINE_integer(
        "step_limit", machine.STEP_LIMIT, "Most rewrites to make.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer(
        "max_characters",
        machine.MAX_CHARACTERS,
        "Most characters to hold, of the text or of the whole trace.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_boolean("trace", False, "Show every rewrite.", flag_values=values)
    flags.DEFINE_enum("format", "text", ["text", "json"], "What to print.", flag_values=values)


def as_record(outcome: Outcome) -> dict[str, Any]:
    """What is printed as JSON: text, steps and halt, and the trace if there is one."""
    record: dict[str, Any] = {"text": outcome.text, "steps": outcome.steps, "halt": outcome.halt}
    if outcome.trace is not None:
        record["trace"] = [
            {
                "rule_index": step.rule_index,
                "rule": notation.render_rule(step.rule),
                "position": step.position,
                "text": step.text,
            }
            for step in outcome.trace
        ]
    return record


def as_text(outcome: Outcome) -> str:
    """The trace if there is one, the text, and how the run ended, for people to read."""
    steps = f"{outcome.steps} step{'' if outcome.steps == 1 else 's'}"
    end = f"{outcome.halt} after {steps}: {_MEANINGS[outcome.halt]}"
    return "\n".join([*_trace_lines(outcome), notation.visible(outcome.text), end])


def _trace_lines(outcome: Outcome) -> list[str]:
    """A table: number of the step, its rule, the position where that applied, and the text after it."""
    if not outcome.trace:
        return []
    rows = [("step", "rule", "position", "text after")]
    for number, step in enumerate(outcome.trace, start=1):
        rule = notation.render_rule(step.rule)
        rows.append((str(number), rule, str(step.position), notation.visible(step.text)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{number:>{widths[0]}}  {rule:<{widths[1]}}  {position:>{widths[2]}}  {text}"
        for number, rule, position, text in rows
    ] + [""]


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
