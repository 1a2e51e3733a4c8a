"""Show which tokens of real examples carry loss, before anything is trained.

    python -m im_jax.inspect_loss --config=FILE [--num_examples=5] [--format=text|html|jsonl]
        [--output=PATH] [--config.FIELD=VALUE ...]

Examples go to --output or standard output. Totals over all examples follow them; with jsonl on standard
output they go to standard error, so that the output stays one JSON object a line.
"""

from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.console import Console, print_json
from im_jax.data import display
from im_jax.data.page import to_html
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import DataError
from im_jax.files import output_file
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.studies.registry import prepare
from im_jax.sweeps.loading import define_run, read_run
from im_jax.text import counted, in_one_line


def main(arguments: command_line.CommandLine) -> None:
    config, policy = arguments.config, make_policy(arguments.config.loss)
    output_format: str = arguments.flag("format")
    output: str | None = arguments.flag("output")
    num_examples: int = arguments.flag("num_examples")

    config.eval.num_examples = 0  # show the source from its start, with nothing held out
    config.tokenizer.path = tokenizer_path(config)
    weights = policy.largest()
    data = prepare(config, make_tokenizer(config.tokenizer.path), weights)
    examples = [
        display.mask_example(data.train[i], data.tokenizer, weights)
        for i in range(min(num_examples, len(data.train)))
    ]
    with output_file(output) as file:
        match output_format:
            case "jsonl":
                for example in examples:
                    print_json(example.as_record(), file)
            case "html":
                page = to_html(examples, data.tokenizer, weights, data.report, _title(config, policy))
                file.write(page)
            case _:
                console = Console(file=file)
                console.print(_title(config, policy))
                for example in examples:
                    console.print(display.to_terminal(example, data.tokenizer))
    console = Console(stderr=output is None and output_format != "text")
    console.print(display.totals_table(data.report))
    try:
        data.report.check(config.data, require_trained_stop=config.loss.require_trained_stop)
    except DataError as error:
        console.print(f"training would stop here: {in_one_line(error)}")
    for message in data.report.skipped:
        console.print(f"skipped {in_one_line(message)}")
    if more := data.report.malformed - len(data.report.skipped):
        console.print(f"... and {more:,} more skipped")
    if output is not None:
        were = "was" if len(examples) == 1 else "were"
        console.print(f"{counted(len(examples), 'example')} {were} written to {output}")


def _title(config: Config, policy: LossPolicy) -> str:
    source = config.data.path or config.data.name or config.data.source
    title = (
        f"{source}: policy {policy.name}, template {config.data.template}, tokenizer {config.tokenizer.path}"
    )
    if policy.changes:
        title += f"; weights are the largest of loss.schedule={config.loss.schedule}"
    return title


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("num_examples", 5, "Examples to show.", lower_bound=0, flag_values=values)
    flags.DEFINE_enum("format", "text", ["text", "html", "jsonl"], "How to show them.", flag_values=values)
    flags.DEFINE_string("output", None, "File to write; standard output if not given.", flag_values=values)
    define_run(values)


run = command_line.Command(__doc__ or "", main, define_flags, read_run)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
