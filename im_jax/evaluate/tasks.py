"""Benchmark tasks asked of a model, from the command line."""

import pathlib
from collections.abc import Sequence

from absl import flags

from im_jax import command_line, evaluate
from im_jax.errors import ConfigError
from im_jax.generate import define_adapter, read
from im_jax.stores import readable
from im_jax.stores.places import local


def main(arguments: command_line.CommandLine) -> None:
    """Run tasks, show scores, and write everything."""
    tasks, output = arguments.flag("tasks"), arguments.flag("output")
    if not tasks:
        raise ConfigError("no tasks; set --tasks=im_paper, or --tasks=NAME,NAME")
    if not output:
        raise ConfigError("no folder to write; set --output=DIR")
    folder = _new(local(output))
    # Only now: flags have been read, and JAX is slow to import.
    import jax

    from im_jax.activity import on_console
    from im_jax.cluster.joining import join_cluster
    from im_jax.console import Console
    from im_jax.evaluation.harness.asking import answers_of
    from im_jax.evaluation.harness.loading import Wanted, ready
    from im_jax.evaluation.harness.running import LOG, run
    from im_jax.files import writing
    from im_jax.opening import open_model, open_run

    config, workdir, chat = arguments.config, arguments.flag("workdir"), arguments.flag("apply_chat_template")
    join_cluster(config)
    data_sets = arguments.flag("local_data")
    wanted = Wanted(
        tasks=tuple(tasks),
        local_data=readable(data_sets) if data_sets else None,
        apply_chat_template=chat,
        **{name: arguments.flag(name) for name in ("num_fewshot", "limit", "add_bos", "max_new_tokens")},
    )
    first = jax.process_index() == 0
    console = Console(quiet=not first)
    if first:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with ready(wanted, folder / LOG if first else None) as loaded:
        model = open_run(workdir, config, chat=chat) if workdir else open_model(config, chat=chat)
        found = run(model, loaded, answers_of(model), on_console(console))
    if found is not None:
        found.about["model"] = workdir or config.model.path
        found.write(folder)
        for table in found.tables():
            console.print(table)
        for name, reason in found.about["missing"].items():
            console.print(f"missing: {name}: {reason}")
        console.print(f"written to {folder}")


def define_flags(values: flags.FlagValues) -> None:
    text: Sequence[tuple[str, str]] = (
        ("workdir", "Directory of a run."),
        ("model", "A Hugging Face folder or a llama2.c file."),
        ("output", "The folder to write; without results of an earlier evaluation."),
        ("local_data", "Folder of local data sets, which come before those of the hub."),
    )
    for name, help in text:
        flags.DEFINE_string(name, None, help, flag_values=values)
    define_adapter(values)
    flags.DEFINE_list("tasks", [], "Names of tasks.", flag_values=values)
    for name, low, help in (
        ("num_fewshot", 0, "Examples in prompts, of all tasks; else as each says."),
        ("limit", 1, "Items of each task, the first ones; for a first look."),
        ("max_new_tokens", 1, "Longest generated answer; else as each task says."),
    ):
        flags.DEFINE_integer(name, None, help, lower_bound=low, flag_values=values)
    flags.DEFINE_boolean("apply_chat_template", False, "Ask in the model's template.", flag_values=values)
    flags.DEFINE_enum(
        "add_bos",
        "auto",
        ["auto", "yes", "no"],
        "Whether texts begin with the BOS token; auto: as the tokenizer does.",
        flag_values=values,
    )


def _new(folder: pathlib.Path) -> pathlib.Path:
    if (folder / "results.json").exists():
        raise ConfigError(f"--output={folder} has results; choose another folder, or remove them")
    return folder


run = command_line.Command(evaluate.__doc__ or "", main, define_flags, read)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
