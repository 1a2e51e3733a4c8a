"""Score files of a chat benchmark, HumanEval or IFEval, as its publishers do, with standard errors.

    python -m im_jax.evaluate score --benchmark=alpaca_eval --judgements=FILE
    python -m im_jax.evaluate score --benchmark=mt_bench --judgements=FILE [--data=FOLDER]
    python -m im_jax.evaluate score --benchmark=ifeval --data=FILE --answers=FILE
    python -m im_jax.evaluate score --benchmark=human_eval --data=FILE --answers=FILE

Annotations of AlpacaEval, judgements of FastChat, responses of IFEval and completions of HumanEval are read
as they are published, packed or not. --data is the benchmark's own file; for MT-Bench FastChat's folder, for
means by category. Programs of HumanEval are run, each in a process that can write no file and open no socket.
With --output=DIR items are written too, for `evaluate compare`.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import Console, print_json
from im_jax.errors import ConfigError
from im_jax.stores.places import local

if TYPE_CHECKING:
    from im_jax.evaluation.scored.scored import Scored

NEEDS: Final = {
    "alpaca_eval": ("judgements",),
    "mt_bench": ("judgements",),
    "ifeval": ("data", "answers"),
    "human_eval": ("data", "answers"),
}
"""Flags that each benchmark needs."""
_TAKES: Final = {"mt_bench": ("data",), "human_eval": ("seconds",)}


def main(argv: Sequence[str]) -> None:
    """Print the figures that a command line (program name first) asks for."""
    values = read_flags(argv, define_flags)
    benchmark = values["benchmark"].value
    if benchmark is None:
        raise ConfigError(f"which benchmark? set --benchmark to one of {', '.join(NEEDS)}")
    takes = (*NEEDS[benchmark], *_TAKES.get(benchmark, ()))
    for name in ("judgements", "data", "answers", "seconds"):
        if values[name].present and name not in takes:
            raise ConfigError(
                f"--{name} is not for {benchmark}, which takes {' and '.join(takes)}; leave it out"
            )
        if name in NEEDS[benchmark] and not values[name].value:
            raise ConfigError(f"{benchmark} is scored from --{name}=FILE, which is not given")
    output = values["output"].value
    if output and list(local(output).glob("**/results.json")):
        raise ConfigError(f"--output={output} has results; choose another folder, or remove them")
    scored = _scored(benchmark, lambda name: values[name].value)
    if output:
        for each in scored:
            folder = pathlib.Path(output)
            each.write(folder if len(scored) == 1 else folder / each.model.replace("/", "_"))
    if values["format"].value == "json":
        print_json([each.as_record() for each in scored])
        return
    console = Console()
    for each in scored:
        console.print(each.title, style="bold")
        console.print(each.as_table())
        for note in each.notes:
            console.print(f"note: {note}")


def _scored(benchmark: str, given: Callable[[str], Any]) -> "list[Scored]":
    from im_jax.activity import on_console  # only now: flags have been read
    from im_jax.evaluation.code.execution import Limits
    from im_jax.evaluation.scored import benchmarks

    data, answers, judgements = (given(name) for name in ("data", "answers", "judgements"))
    if benchmark == "alpaca_eval":
        return [benchmarks.alpaca_eval(judgements)]
    if benchmark == "mt_bench":
        return benchmarks.mt_bench(judgements, data)
    if benchmark == "ifeval":
        return [benchmarks.ifeval(data, answers)]
    with on_console(Console(stderr=True))("running programs") as advance:
        return [benchmarks.human_eval(data, answers, Limits(given("seconds")), lambda: advance(1))]


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("benchmark", None, list(NEEDS), "Which one.", flag_values=values)
    flags.DEFINE_string(
        "judgements", None, "What a judge said: annotations or judgements.", flag_values=values
    )
    flags.DEFINE_string("data", None, "The benchmark's own file or folder.", flag_values=values)
    flags.DEFINE_string("answers", None, "What the model said.", flag_values=values)
    flags.DEFINE_float("seconds", 3.0, "For each program of human_eval.", flag_values=values)
    flags.DEFINE_enum("format", "text", ["text", "json"], "What to print.", flag_values=values)
    flags.DEFINE_string("output", None, "Folder for figures and items, to be compared.", flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
