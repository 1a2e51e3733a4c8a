"""Say what a data set holds: lengths, ratio, classes, truncation, duplicates, and the paper's fits.

    python -m im_jax.data_report --config=FILE [--format=text|json|html] [--output=PATH]
        [--config.FIELD=VALUE ...]
    python -m im_jax.data_report --config=FILE --prepare [--config.FIELD=VALUE ...]
    python -m im_jax.data_report --recipe=NAME|all [--format=text|json]

With --prepare the examples are encoded into data.cache, where training finds them, and no report is made.
With --recipe a training set by name is told of, or all with their licences; no data is read.
Nothing is trained, and JAX is not needed. The report goes to --output or standard output.
"""

import pathlib
import sys
import time
from typing import Any, TextIO

from absl import flags

from im_jax import command_line
from im_jax.activity import Activity, on_console
from im_jax.config import Config
from im_jax.console import Console, print_json, print_text, words
from im_jax.data.prepare import Prepared
from im_jax.data.recipes.describe import catalogue, catalogue_text, described, text_of
from im_jax.data.recipes.registry import find
from im_jax.data.report.as_json import to_json
from im_jax.data.report.as_text import BLOCK, to_lines
from im_jax.data.report.build import Policy, Report, build
from im_jax.data.report.page import to_html
from im_jax.data.selection import TooFewError
from im_jax.data.store.cache import cache_folder
from im_jax.data.store.sets import Keep
from im_jax.data.templates import writes_date
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.errors import ConfigError, DataError
from im_jax.files import output_file
from im_jax.losses.policy import LossPolicy, make_policy, policy_weights
from im_jax.studies.registry import prepare
from im_jax.sweeps.loading import define_run, read_run
from im_jax.text import counted

_FILE = 80
"""Columns of a file of text."""
_BESIDE = ("it", "im")
"""Policies that are told of beside that of the configuration."""


def main(arguments: command_line.CommandLine) -> None:
    config = arguments.config
    if arguments.flag("prepare"):
        keep(config)
        return
    output_format: str = arguments.flag("format")
    output: str | None = arguments.flag("output")
    recipe: str | None = arguments.flag("recipe")
    with output_file(output) as file:
        if recipe is not None:
            _tell(recipe, output_format, file)
            return
        report = _report(config)
        match output_format:
            case "json":
                print_json(to_json(report), file)
            case "html":
                file.write(to_html(report))
            case _:
                _print(report, file)
    if output is not None:
        Console().print(f"the report was written to {output}")


def _tell(recipe: str, output_format: str, file: TextIO) -> None:
    """One recipe, or `all`."""
    if output_format == "json":
        print_json(catalogue() if recipe == "all" else described(find(recipe)), file)
    else:
        print_text(catalogue_text() if recipe == "all" else text_of(find(recipe)), file)


def _read(path: pathlib.Path | None, values: flags.FlagValues) -> Config:
    """The configuration of the file; what is said of a recipe needs none."""
    recipe: str | None = values["recipe"].value
    if values["prepare"].value:
        for name in ("recipe", "format", "output"):
            if values[name].value != values[name].default:
                raise ConfigError(
                    f"--{name} has no effect with --prepare, which makes no report; leave it out"
                )
    if recipe is None:
        return read_run(path, values)
    if values["format"].value == "html":
        raise ConfigError("--format=html is for reports; of a recipe choose text or json")
    if recipe != "all":
        find(recipe)
    config = Config() if path is None else read_run(path, values)
    if path is None:  # one that passes the checks, and is not used
        config.train.steps = 1
        config.data.source = "generated"
    return config


def _report(config: Config) -> Report:
    config.tokenizer.path = tokenizer_path(config)
    policy = make_policy(config.loss)
    doing = on_console(Console(stderr=True))
    data = _prepared(config, policy, doing)
    own = policy_weights(policy.name)
    name = policy.name if (own == policy.largest()).all() else f"{policy.name} with weights"
    policies = [Policy(name, policy.largest())]
    policies += [Policy(beside, policy_weights(beside)) for beside in _BESIDE if beside != name]
    with doing("measuring"):
        return build(config, data, policies)


def _prepared(config: Config, policy: LossPolicy, doing: Activity) -> Prepared:
    """What training would have; of a source that is too small to hold examples out of, all of it."""
    tokenizer = make_tokenizer(config.tokenizer.path)
    try:
        return prepare(config, tokenizer, policy.largest(), doing)
    except TooFewError as error:
        print_text(f"nothing is held out: {error}", sys.stderr)
        config.eval.num_examples = 0
        return prepare(config, tokenizer, policy.largest(), doing)


def keep(config: Config) -> None:
    """Encode into the cache what a run with this configuration will look for there."""
    began = time.monotonic()
    if config.data.source not in ("jsonl", "tfds"):
        raise ConfigError(
            f"--prepare is for data.source=jsonl or tfds; examples of data.source={config.data.source} are "
            "made, not kept"
        )
    if cache_folder(config.data.cache) is None:
        raise ConfigError("--prepare has nowhere to write to; set --config.data.cache=FOLDER")
    config.tokenizer.path = tokenizer_path(config)
    tokenizer, weights = make_tokenizer(config.tokenizer.path), make_policy(config.loss).largest()
    data = prepare(config, tokenizer, weights, on_console(Console(stderr=True)), Keep.ALL)
    print_text(data.summary())
    if not config.data.date and writes_date(config.data.template):
        print_text("  note: the template writes the date: training finds this today, or with this data.date")
    try:
        data.report.check(config.data, require_trained_stop=config.loss.require_trained_stop)
    except DataError as error:
        print_text(f"  note: training would stop: {error}")
    stored = {found.place: found for found in data.stored}
    examples = counted(sum(found.examples for found in stored.values()), "example")
    tokens = counted(sum(found.tokens for found in stored.values()), "token")
    where = next(iter(stored)) if len(stored) == 1 else f"{len(stored)} sets in {next(iter(stored)).parent}"
    new = sum(found.is_new for found in stored.values())
    how = "found there" if not new else "encoded" if new == len(stored) else f"{new} of them encoded"
    print_text(f"{examples}, {tokens}: {where}, {how} in {time.monotonic() - began:.1f} s")


def _print(report: Report, file: Any) -> None:
    console = Console(file=file) if file is sys.stdout else Console(file=file, width=_FILE)
    utf = (getattr(file, "encoding", None) or "utf-8").lower().startswith("utf")
    for line in to_lines(report, console.width, BLOCK if utf else "#"):
        console.print(words(line.text, "bold" if line.heading else ""), soft_wrap=True)


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("format", "text", ["text", "json", "html"], "How to show it.", flag_values=values)
    flags.DEFINE_string(
        "recipe", None, "Tell of this recipe instead; `all`: of each a line.", flag_values=values
    )
    flags.DEFINE_boolean(
        "prepare", False, "Encode the examples for training, and say where they lie.", flag_values=values
    )
    flags.DEFINE_string("output", None, "File to write; standard output if not given.", flag_values=values)
    define_run(values)


run = command_line.Command(__doc__ or "", main, define_flags, _read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
