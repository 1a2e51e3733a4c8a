"""Compare evaluations item by item: paired differences with intervals and tests.

    python -m im_jax.evaluate compare FIRST SECOND [THIRD ...] [--format=text|json]

FIRST, SECOND are folders that an evaluation has written, as --output named them, or folders of such folders,
or several joined by commas: then each is the run of one seed, and seeds are paired in that order. Each
method is compared with the first one, on every score that both have: tasks, groups of tasks, and the
categories of im_paper. Items are paired by number, and a pair whose prompts differ is refused.

p is McNemar's exact one where items are independent and right or wrong, else from the standard error,
clustered where items come in groups. p (Holm) is corrected for the number of scores. `detectable` is the
smallest true difference that would have been found in 80 % of such comparisons.
"""

from collections.abc import Sequence

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import Console, print_json
from im_jax.errors import ConfigError
from im_jax.stores.places import local


def main(argv: Sequence[str]) -> None:
    """Print the comparison that a command line (program name first) asks for."""
    named = [word for word in argv[1:] if not word.startswith("-")]
    values = read_flags([argv[0], *(word for word in argv[1:] if word.startswith("-"))], define_flags)
    if len(named) < 2:
        raise ConfigError("nothing to compare; give two folders of evaluations: compare FIRST SECOND")
    if len(set(named)) < len(named):
        raise ConfigError(f"{max(named, key=named.count)} is given twice; give folders of different runs")
    from im_jax.evaluation.results import result_folders  # only now: flags have been read
    from im_jax.evaluation.statistics.report import as_record, as_table, compare_all

    methods = {
        name: [folder for path in name.split(",") for folder in result_folders(local(path, "compare"))]
        for name in named
    }
    comparisons = compare_all(methods)
    if values["format"].value == "json":
        print_json(as_record(comparisons))
        return
    console = Console()
    for comparison in comparisons:
        console.print(as_table(comparison))
        for name, why in comparison.left_out.items():
            console.print(f"not compared: {name}: {why}")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("format", "text", ["text", "json"], "What to print.", flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
