"""Ask a model AlpacaEval, MT-Bench, IFEval or HumanEval, and write its answers in the benchmark's format.

    python -m im_jax.evaluate answers --workdir=RUN|--model=DIR --benchmark=NAME --data=PATH --output=FILE
        [--temperature=0 --max_tokens=8192] [--limit=N]

--data is the benchmark's own file: for AlpacaEval outputs of any model, such as the reference's; for MT-Bench
FastChat's folder; IFEval's input_data.jsonl; HumanEval.jsonl. It is asked as its publishers ask: MT-Bench at
the temperatures of its categories, HumanEval as the paper does, 20 completions at 0.1 and at 0.7. Answers are
kept in OUTPUT.partial.jsonl as they come; the same command goes on where it was stopped.
"""

import pathlib
from typing import TYPE_CHECKING, Any, Final

from absl import flags

from im_jax import command_line
from im_jax.errors import ConfigError
from im_jax.generate import define_adapter, read
from im_jax.stores import readable
from im_jax.stores.places import local

if TYPE_CHECKING:
    from im_jax.evaluation.answering.answer import Report
    from im_jax.evaluation.answering.benchmarks import Benchmark

_NAMES: Final = ("alpaca_eval", "mt_bench", "ifeval", "human_eval")
_SHOWN: Final = 5
"""Prompts without an answer that are named."""


def main(arguments: command_line.CommandLine) -> None:
    """Ask, and write the file."""
    name, output = _checked(arguments)
    # Only now: flags have been read, and JAX is slow to import.
    from im_jax.activity import on_console, silent
    from im_jax.console import Console
    from im_jax.evaluation.answering.answer import answer
    from im_jax.evaluation.answering.generated import answers_of, identity, params_of
    from im_jax.evaluation.answering.store import Store

    benchmark, about = _benchmark(name, arguments)
    seed = arguments.flag("seed")
    for sampling in {each.sampling for each in benchmark.ready({})}:
        params_of(sampling, seed)
    import jax

    from im_jax.cluster.joining import join_cluster
    from im_jax.generation.generator import Generator
    from im_jax.opening import open_model, open_run
    from im_jax.training.digest import digest

    config, workdir, chat = arguments.config, arguments.flag("workdir"), name != "human_eval"
    join_cluster(config)
    model = open_run(workdir, config, chat=chat) if workdir else open_model(config, chat=chat)
    generator = Generator(model, slots=arguments.flag("slots"))
    first = jax.process_index() == 0
    console = Console(stderr=True, quiet=not first)
    known = identity(model, digest(model.params), generator, chat=chat)
    place = readable(workdir or config.model.path).resolve()
    partial = output.with_name(output.name + ".partial.jsonl")
    if output.exists() and not partial.exists():  # on all processes, so that none waits for the others
        raise ConfigError(f"--output={output} is there, and was not begun by this command; name another file")
    doing = on_console(console) if first else silent
    with (
        Store(partial, {"benchmark": name, **known, **about, "seed": seed}, writes=first) as store,
        doing(f"answering {name}", benchmark.total) as advance,
    ):
        name_of_model = arguments.flag("model_name") or (place.stem if place.is_file() else place.name)
        report = answer(
            benchmark,
            answers_of(model, generator, seed),
            store,
            output,
            name_of_model,
            writes=first,
            advance=advance,
        )
    for line in _told(report, output):
        console.print(line)


def _checked(arguments: command_line.CommandLine) -> tuple[str, pathlib.Path]:
    name = arguments.flag("benchmark")
    if name is None:
        raise ConfigError(f"which benchmark? set --benchmark to one of {', '.join(_NAMES)}")
    for flag in ("data", "output"):
        if not arguments.flag(flag):
            raise ConfigError(f"asking {name} needs --{flag}, which is not given")
    if arguments.flag("samples") is not None and name != "human_eval":
        raise ConfigError(f"--samples is not for {name}, which asks each prompt once; leave it out")
    from im_jax.evaluation.records import check_place

    output = local(arguments.flag("output"))
    check_place(output)
    return name, output


def _benchmark(name: str, arguments: command_line.CommandLine) -> tuple["Benchmark", dict[str, Any]]:
    """What is asked, and how: for the file's head."""
    from im_jax.evaluation.answering import benchmarks
    from im_jax.evaluation.code.human_eval import TEMPERATURES, read_problems
    from im_jax.evaluation.instructions_followed.scoring import read_prompts
    from im_jax.evaluation.judged import mt_bench
    from im_jax.evaluation.judged.alpaca_eval import read_outputs

    data, limit, temperature = (arguments.flag(flag) for flag in ("data", "limit", "temperature"))
    given = {flag: arguments.flag(flag) for flag in ("max_tokens", "temperature", "top_p", "samples")}
    sampling = benchmarks.defaults(name)._replace(**{k: v for k, v in given.items() if v is not None})
    about: dict[str, Any] = {"max_tokens": sampling.max_tokens, "top_p": sampling.top_p}

    def first(items: dict[Any, Any]) -> dict[Any, Any]:
        return dict(list(items.items())[:limit])

    if name == "alpaca_eval":
        asked: benchmarks.Benchmark = benchmarks.AlpacaEval(first(read_outputs(data, "data")), sampling)
    elif name == "ifeval":
        asked = benchmarks.IFEval(read_prompts(data)[:limit], sampling)
    elif name == "mt_bench":
        by_category = dict(mt_bench.TEMPERATURES) if temperature is None else {}
        asked = benchmarks.MTBench(first(mt_bench.read_questions(data)), sampling, by_category)
        about["temperatures"] = by_category or temperature
    else:
        temperatures = TEMPERATURES if temperature is None else (temperature,)
        asked = benchmarks.HumanEval(first(read_problems(data)), sampling, temperatures)
        about["samples"] = sampling.samples  # each temperature has prompts of its own
    if name in ("alpaca_eval", "ifeval"):
        about["temperature"] = sampling.temperature
    return asked, about


def _told(report: "Report", output: pathlib.Path) -> list[str]:
    """What became of it, for people."""
    total = report.before + report.now
    lines = [
        f"{total:,} answers in {output}, {report.before:,} of them from before; {report.cut:,} were cut at "
        f"max_tokens or at the end of the model's positions, {report.empty:,} are empty"
    ]
    if report.failures:
        lines.append(f"{len(report.failures):,} prompts could not be answered, and have an empty answer:")
        lines += [
            f"  {name.rpartition(' ')[0]}: {why}" for name, why in list(report.failures.items())[:_SHOWN]
        ]
        if len(report.failures) > _SHOWN:
            lines.append("  ...")
    return lines


def define_flags(values: flags.FlagValues) -> None:
    for name, help in (
        ("workdir", "Directory of a run."),
        ("model", "A Hugging Face folder or a llama2.c file."),
        ("data", "The benchmark's own file or folder."),
        ("output", "The file of answers to write."),
        ("model_name", "Name of the model in the file; else that of its folder."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    define_adapter(values)
    flags.DEFINE_enum("benchmark", None, list(_NAMES), "Which one.", flag_values=values)
    for name, low, help in (
        ("max_tokens", 1, "Of an answer, at most; else as the benchmark says."),
        ("samples", 1, "human_eval: completions of each problem; 20."),
        ("limit", 1, "Prompts, the first ones; for a first look."),
        ("slots", 1, "Answers that are decoded together; 64."),
    ):
        flags.DEFINE_integer(name, None, help, lower_bound=low, flag_values=values)
    flags.DEFINE_integer("seed", 0, "Decides all draws, with the prompt.", lower_bound=0, flag_values=values)
    flags.DEFINE_float("temperature", None, "For all prompts; 0 is greedy.", flag_values=values)
    flags.DEFINE_float("top_p", None, "Likeliest tokens are kept up to this sum.", flag_values=values)


run = command_line.Command(__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
