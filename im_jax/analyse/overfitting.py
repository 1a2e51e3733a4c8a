"""Analyse runs: what they learned by heart, what they forgot, and which tokens moved them.

    python -m im_jax.analyse overfitting --runs=RUN,RUN --output=DIR [--limit=N] [--checkpoints=newest|all]

Each run is a workdir, and all saw the same data. Measured on the same examples of each, of training and held
out: losses by token class, greedy answers against the outputs (BLEU, copied n-grams, verbatim continuation,
length, diversity), gradients by token class, and the change of held-out loss that a step on instructions and
one on outputs bring. With --text also how likely plain text is, against the model that the run started from.
Every other run is compared with the first, example by example. --output gets report.md and
report.html, results.json, examples.csv, and figures as PNG and SVG.
"""

from collections.abc import Sequence
from typing import Any

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.errors import ConfigError
from im_jax.stores.places import local


def main(argv: Sequence[str]) -> None:
    """Analyse the runs that a command line (program name first) names."""
    found = read_flags(argv, define_flags)
    values: dict[str, Any] = {name: found[name].value for name in found}
    runs: list[str] = [name for name in values["runs"] if name]
    if not runs:
        raise ConfigError("no runs to analyse; set --runs=WORKDIR,WORKDIR")
    output: str | None = values["output"]
    if not output:
        raise ConfigError("no folder to write; set --output=DIR")
    folder = local(output)
    # Only now: flags have been read, and JAX is slow to import.
    from im_jax.activity import on_console
    from im_jax.analysis.bleu import sacrebleu
    from im_jax.analysis.forgetting import read_paragraphs
    from im_jax.analysis.opened import open_runs
    from im_jax.analysis.report import write_report
    from im_jax.analysis.suite import Options, analyse
    from im_jax.console import Console

    console = Console()
    doing = on_console(console)
    text: str | None = values["text"]
    options = Options(
        paragraphs=tuple(read_paragraphs(text, values["paragraphs"])) if text else (),
        **{name: values[name] for name in (*_NUMBERS, "learning_rate")},
    )
    if options.answers:
        sacrebleu()  # that it lacks is said before anything that takes long
    opened = open_runs(
        runs,
        limit=values["limit"],
        seed=options.seed,
        all_steps=values["checkpoints"] == "all",
        doing=doing,
    )
    results = [analyse(run, options, doing) for run in opened]
    about = {"seed": options.seed, "limit": values["limit"], "text": text}
    console.print(write_report(folder, results, about))
    console.print(f"written to {output}")


_NUMBERS = {
    "seed": (0, 0, "Decides which examples are drawn."),
    "answers": (100, 0, "Examples of each set that are answered, at most; 0: none."),
    "max_new_tokens": (256, 1, "Tokens of an answer, at most."),
    "ngram": (5, 1, "Tokens of an n-gram that counts as copied."),
    "prefix": (8, 0, "Tokens of an output that are given before its rest is to follow verbatim."),
    "gradient_examples": (32, 0, "Examples of each set whose gradients are measured; 0: none."),
    "rows_at_a_time": (4, 1, "Examples that a gradient is computed of at once."),
}
"""Default, least value and help of each."""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_list("runs", [], "Workdirs; the others are compared with the first.", flag_values=values)
    flags.DEFINE_string("output", None, "The folder to write.", flag_values=values)
    flags.DEFINE_enum(
        "checkpoints", "newest", ["newest", "all"], "Which have their losses measured.", flag_values=values
    )
    flags.DEFINE_integer("limit", 500, "Examples of each set, at most.", lower_bound=2, flag_values=values)
    flags.DEFINE_string("text", None, "A text file, for what is forgotten.", flag_values=values)
    flags.DEFINE_integer(
        "paragraphs", 200, "Paragraphs of it that are read.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_float(
        "learning_rate",
        None,
        "Of the step whose effect is told; else the run's.",
        lower_bound=0,
        flag_values=values,
    )
    for name, (default, low, help) in _NUMBERS.items():
        flags.DEFINE_integer(name, default, help, lower_bound=low, flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
